// Rectangles of a picture.
#pragma once

namespace triptych {

/// A rectangle of pixels: left and top corner, size.
struct Box {
  int x = 0, y = 0, width = 0, height = 0;
  friend bool operator==(const Box&, const Box&) = default;
};

/// A rectangle whose corners may lie inside of pixels.
struct RealBox {
  double x = 0, y = 0, width = 0, height = 0;
  RealBox() = default;
  RealBox(double left, double top, double w, double h) : x(left), y(top), width(w), height(h) {}
  RealBox(Box box) : RealBox(box.x, box.y, box.width, box.height) {}  // NOLINT: a Box is one
};

/// Width and height.
struct Size {
  int width = 0, height = 0;
};

}  // namespace triptych
