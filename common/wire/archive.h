// Cereal archives over byte spans: little-endian, and with a budget. A container claims at most as
// many elements as bytes are left (each takes at least one), so that a short message cannot make
// the reader allocate much more than its own length. Included by messages.cpp alone.
#pragma once

#include <bit>
#include <cereal/cereal.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/vector.hpp>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "common/base/error.h"

namespace sheaf::wire {

static_assert(std::endian::native == std::endian::little, "the wire is little-endian");

class ByteWriter : public cereal::OutputArchive<ByteWriter, cereal::AllowEmptyClassElision> {
 public:
  explicit ByteWriter(std::vector<std::byte>& bytes) : OutputArchive(this), bytes_(bytes) {}
  void write(const void* data, std::size_t size) {
    if (size == 0) return;
    const std::size_t at = bytes_.size();
    bytes_.resize(at + size);
    std::memcpy(bytes_.data() + at, data, size);
  }

 private:
  std::vector<std::byte>& bytes_;
};

class ByteReader : public cereal::InputArchive<ByteReader, cereal::AllowEmptyClassElision> {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : InputArchive(this), bytes_(bytes) {}
  void read(void* data, std::size_t size) {
    if (size > bytes_.size()) fail(Fault::network, "control message ends too early");
    if (size != 0) std::memcpy(data, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

template <typename T>
  requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(ByteWriter& archive, const T& value) {
  archive.write(&value, sizeof value);
}

template <typename T>
  requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(ByteReader& archive, T& value) {
  if constexpr (std::is_same_v<T, bool>) {  // any byte but 0 and 1 would be undefined behaviour
    unsigned char byte = 0;
    archive.read(&byte, 1);
    if (byte > 1) fail(Fault::network, "control message: found {} as a truth value", byte);
    value = byte == 1;
  } else {
    archive.read(&value, sizeof value);
  }
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(ByteWriter& archive, const cereal::BinaryData<T>& data) {
  archive.write(data.data, static_cast<std::size_t>(data.size));
}

template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(ByteReader& archive, cereal::BinaryData<T>& data) {
  archive.read(data.data, static_cast<std::size_t>(data.size));
}

template <typename T>
void CEREAL_SAVE_FUNCTION_NAME(ByteWriter& archive, const cereal::SizeTag<T>& tag) {
  archive(static_cast<std::uint64_t>(tag.size));
}

template <typename T>
void CEREAL_LOAD_FUNCTION_NAME(ByteReader& archive, cereal::SizeTag<T>& tag) {
  std::uint64_t size = 0;
  archive(size);
  if (size > archive.left()) {
    fail(Fault::network, "control message claims {} elements with {} bytes left", size,
         archive.left());
  }
  tag.size = static_cast<std::remove_reference_t<decltype(tag.size)>>(size);
}

template <typename T>
void CEREAL_SERIALIZE_FUNCTION_NAME(ByteWriter& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}

template <typename T>
void CEREAL_SERIALIZE_FUNCTION_NAME(ByteReader& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}

}  // namespace sheaf::wire

CEREAL_REGISTER_ARCHIVE(sheaf::wire::ByteWriter)
CEREAL_REGISTER_ARCHIVE(sheaf::wire::ByteReader)
CEREAL_SETUP_ARCHIVE_TRAITS(sheaf::wire::ByteReader, sheaf::wire::ByteWriter)
