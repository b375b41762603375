// The dtype names of the safetensors format; shared by its reader and writer.
#pragma once
#include <c10/core/ScalarType.h>

#include <array>
#include <string_view>
#include <utility>

namespace triptych {

inline constexpr std::array<std::pair<std::string_view, at::ScalarType>, 10> kSafetensorsDtypes = {{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
}};

}  // namespace triptych
