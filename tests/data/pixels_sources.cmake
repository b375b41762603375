# Tests of data/image and data/text, relative to this folder. They need triptych_image, triptych_text, nlohmann_json.
set(PIXELS_TEST_SOURCES
  image_decode_test.cpp
  image_damage_test.cpp
  image_resize_test.cpp
  image_augment_test.cpp
  image_operations_test.cpp
  text_clip_bpe_test.cpp
  text_html_test.cpp
  text_prompts_test.cpp)
