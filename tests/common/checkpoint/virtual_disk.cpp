#include "tests/common/checkpoint/virtual_disk.h"

#include <algorithm>
#include <cerrno>

#include "common/base/error.h"
#include "common/base/file_error.h"

namespace sheaf::checkpoint {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_at(const fs::path& path, int error) {
  fail(Fault::data, "{}: {}", path.string(), text_of(error));
}

}  // namespace

class VirtualFile final : public File {
 public:
  VirtualFile(VirtualDisk& disk, int node, fs::path path)
      : disk_(disk), node_(static_cast<std::size_t>(node)), path_(std::move(path)) {}

  std::uint64_t size() const override { return node().now.size(); }
  void reserve(std::uint64_t bytes) override {
    for (std::size_t at = node().now.size(); at < bytes; at += VirtualDisk::kBlock) touch(at, 1);
    node().now.resize(std::max<std::size_t>(bytes, node().now.size()));
  }
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
    if (offset + bytes.size() > node().now.size()) reserve(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), node().now.begin() + static_cast<std::ptrdiff_t>(offset));
    touch(offset, bytes.size());
  }
  void cut(std::uint64_t bytes) override {
    if (bytes < node().now.size()) node().now.resize(bytes);
  }
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const override {
    if (offset + bytes.size() > node().now.size())
      fail(Fault::data, "{}: ends early", path_.string());
    const auto from = node().now.begin() + static_cast<std::ptrdiff_t>(offset);
    std::copy(from, from + static_cast<std::ptrdiff_t>(bytes.size()), bytes.begin());
  }
  void sync() override {
    if (!disk_.syncs_files) return;
    node().synced = node().now;
    node().written.clear();
  }

 private:
  VirtualDisk::Node& node() const { return disk_.nodes_[node_]; }
  void touch(std::size_t at, std::size_t bytes) {
    for (std::size_t block = at / VirtualDisk::kBlock; block * VirtualDisk::kBlock < at + bytes;
         ++block) {
      node().written.insert(block);
    }
  }

  VirtualDisk& disk_;
  std::size_t node_;
  fs::path path_;
};

VirtualDisk::VirtualDisk() : nodes_(1) { nodes_[0].folder = true; }

int VirtualDisk::find(const fs::path& path) const {
  if (path == "/") return kNone;  // above what we have
  int at = 0;
  for (const fs::path& part : path.lexically_relative("/run")) {
    if (part == ".") continue;
    const auto& names = nodes_[static_cast<std::size_t>(at)].names;
    const auto found = names.find(part.string());
    if (found == names.end() || found->second.back() == kNone) return kNone;
    at = found->second.back();
  }
  return at;
}

VirtualDisk::Node& VirtualDisk::folder_of(const fs::path& path) {
  const int folder = find(path.parent_path());
  if (folder == kNone) fail_at(path, ENOENT);
  return nodes_[static_cast<std::size_t>(folder)];
}

int VirtualDisk::add(const fs::path& path, bool folder) {
  const int node = static_cast<int>(nodes_.size());
  auto& history = folder_of(path).names[path.filename().string()];
  if (history.empty()) history.push_back(kNone);
  history.push_back(node);
  nodes_.emplace_back().folder = folder;
  return node;
}

void VirtualDisk::unlink(const fs::path& path) {
  folder_of(path).names.at(path.filename().string()).push_back(kNone);
}

std::unique_ptr<File> VirtualDisk::create(const fs::path& path) {
  if (find(path) != kNone) fail_at(path, EEXIST);
  return std::make_unique<VirtualFile>(*this, add(path, false), path);
}

std::unique_ptr<File> VirtualDisk::open(const fs::path& path) {
  const int node = find(path);
  if (node == kNone) fail_at(path, ENOENT);
  if (nodes_[static_cast<std::size_t>(node)].folder) fail_at(path, EISDIR);
  return std::make_unique<VirtualFile>(*this, node, path);
}

std::unique_ptr<File> VirtualDisk::open_to_append(const fs::path& path, std::uint64_t size) {
  const int node = find(path);
  if (node == kNone) fail_at(path, ENOENT);
  Node& file = nodes_[static_cast<std::size_t>(node)];
  if (file.folder) fail_at(path, EISDIR);
  file.now.resize(size);
  return std::make_unique<VirtualFile>(*this, node, path);
}

void VirtualDisk::rename(const fs::path& from, const fs::path& to) {
  const int node = find(from);
  if (node == kNone) fail_at(from, ENOENT);
  auto& history = folder_of(to).names[to.filename().string()];
  if (history.empty()) history.push_back(kNone);
  history.push_back(node);
  unlink(from);
}

bool VirtualDisk::remove(const fs::path& file) {
  if (find(file) == kNone) return false;
  unlink(file);
  return true;
}

void VirtualDisk::make_folder(const fs::path& folder) {
  if (find(folder) == kNone) add(folder, true);
}

bool VirtualDisk::remove_folder(const fs::path& folder) {
  if (find(folder) == kNone || !list(folder).empty()) return false;
  unlink(folder);
  return true;
}

std::vector<Disk::Entry> VirtualDisk::list(const fs::path& folder) {
  std::vector<Entry> entries;
  const int node = find(folder);
  if (node == kNone) return entries;
  for (const auto& [name, history] : nodes_[static_cast<std::size_t>(node)].names) {
    if (history.back() == kNone) continue;
    entries.push_back({name, nodes_[static_cast<std::size_t>(history.back())].folder});
  }
  return entries;
}

void VirtualDisk::sync_folder(const fs::path& folder) {
  const int node = find(folder);
  if (node == kNone) {
    if (folder == "/") return;
    fail_at(folder, ENOENT);
  }
  if (!syncs_folders) return;
  for (auto& [name, history] : nodes_[static_cast<std::size_t>(node)].names) {
    history = {history.back()};
  }
}

void VirtualDisk::crash_file(Node& node, std::uint64_t seed, Stream& random) const {
  if (seed == 1) node.synced = node.now;
  if (seed > 1 && (!node.written.empty() || node.now.size() < node.synced.size())) {
    const std::size_t most = std::max(node.now.size(), node.synced.size());
    const std::size_t kept = std::min(node.now.size(), node.synced.size());
    const auto safe = [&](std::size_t at) {
      return spares_synced_bytes && at < kept && node.now[at] == node.synced[at];
    };
    const std::size_t least = spares_synced_bytes ? kept : 0;
    std::vector<std::byte> found = node.synced;
    node.now.resize(most);
    found.resize(most);
    for (const std::size_t block : node.written) {
      const std::uint32_t fate = random.next() % 4;
      for (std::size_t at = block * kBlock; at < std::min(most, (block + 1) * kBlock); ++at) {
        if (safe(at)) continue;
        if (fate == 1) found[at] = node.now[at];
        if (fate == 2) found[at] = std::byte{0};
        if (fate == 3) found[at] = static_cast<std::byte>(random.next());
      }
    }
    if (random.next() % 2 == 0) found.resize(least + random.next() % (most - least + 1));
    node.synced = std::move(found);
  }
  node.now = node.synced;
  node.written.clear();
}

void VirtualDisk::crash(std::uint64_t seed) {
  Stream random(seed, Purpose::test);
  for (Node& node : nodes_) {
    crash_file(node, seed, random);
    for (auto& [name, history] : node.names) {
      const std::size_t last = history.size() - 1;
      history = {history[seed == 0 ? 0 : seed == 1 ? last : random.next() % (last + 1)]};
    }
  }
}

std::vector<std::byte>& VirtualDisk::bytes(const fs::path& file) {
  const int node = find(file);
  if (node == kNone) fail_at(file, ENOENT);
  return nodes_[static_cast<std::size_t>(node)].now;
}

}  // namespace sheaf::checkpoint
