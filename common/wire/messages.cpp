#include "common/wire/messages.h"

#include "common/wire/archive.h"

namespace sheaf {

template <typename Archive>
void save(Archive& archive, const ProcessId& id) {
  archive(static_cast<std::uint8_t>(id.role), id.id);
}
template <typename Archive>
void load(Archive& archive, ProcessId& id) {
  std::uint8_t role = 0;
  archive(role, id.id);
  if (role < 1 || role > 3) fail(Fault::network, "control message: found role {}", role);
  id.role = static_cast<Role>(role);
}

namespace params {

template <typename Archive>
void serialize(Archive& archive, Group& group) {
  archive(group.rate_scale, group.decay_scale, group.averaged, group.own.rate, group.own.towards);
}

template <typename Archive>
void save(Archive& archive, const Layout& layout) {
  archive(cereal::make_size_tag(static_cast<cereal::size_type>(layout.tensors().size())));
  for (const Tensor& tensor : layout.tensors()) {
    archive(tensor.name, tensor.shape, layout.groups()[tensor.group]);
  }
}

constexpr std::uint64_t kMostElements = std::uint64_t{1} << 40;  // of one tensor

// A layout is rebuilt by the calls that made it, so that no offset can be wrong.
template <typename Archive>
void load(Archive& archive, Layout& layout) {
  cereal::size_type count = 0;
  archive(cereal::make_size_tag(count));
  for (cereal::size_type i = 0; i < count; ++i) {
    std::string name;
    std::vector<std::uint32_t> shape;
    Group group;
    archive(name, shape, group);
    std::uint64_t elements = 1;
    for (const std::uint32_t extent : shape) {
      if (extent == 0 || elements > kMostElements / extent) {
        fail(Fault::network, "control message: impossible shape of tensor {}", name);
      }
      elements *= extent;
    }
    layout.add(std::move(name), std::move(shape), group);
  }
}

}  // namespace params

namespace wire {

template <typename Archive>
void serialize(Archive& archive, ProcessInfo& m) {
  archive(m.process, m.incarnation, m.pid, m.started, m.host, m.host_id, m.address, m.ports);
}
template <typename Archive>
void serialize(Archive& archive, Registration& m) {
  archive(m.info, m.numerics, m.data_digest, m.layout, m.task, m.outputs, m.targets, m.steps,
          m.steps_per_epoch, m.keeper_pid, m.keeper_started, m.has_residuals, m.residuals_of);
}
template <typename Archive>
void serialize(Archive& archive, Start& m) {
  archive(m.roster, m.layout, m.checkpoints, m.first_step, m.manifest, m.secret, m.noise,
          m.predecessor, m.backups, m.branch_steps, m.branch_names);
}
template <typename Archive>
void serialize(Archive& archive, Released& m) {
  archive(m.step, m.partition, m.lane, m.chunks, m.digest);
}
template <typename Archive>
void serialize(Archive& archive, CheckpointBase& m) {
  archive(m.version, m.base);
}
template <typename Archive>
void serialize(Archive& archive, Return& m) {
  archive(m.registration, m.first_step, m.begun, m.known_from, m.draining, m.ends, m.last_step,
          m.ordered, m.backups, m.bases);
}
template <typename Archive>
void serialize(Archive& archive, CheckpointAt& m) {
  archive(m.version, m.abandoned, m.end);
}
template <typename Archive>
void serialize(Archive& archive, CheckpointAnswer& m) {
  archive(m.version, m.in_time, m.writes);
}
template <typename Archive>
void serialize(Archive& archive, SavedChunk& m) {
  archive(m.offset, m.size, m.at, m.crc);
}
template <typename Archive>
void serialize(Archive& archive, SavedResidual& m) {
  archive(m.partition, m.run, m.chunk);
}
template <typename Archive>
void serialize(Archive& archive, SavedFile& m) {
  archive(m.name, m.bytes, m.header_bytes, m.header_crc, m.host, m.chunks, m.residuals);
}
template <typename Archive>
void serialize(Archive& archive, Saved& m) {
  archive(m.version, m.error, m.files);
}
template <typename Archive>
void serialize(Archive& archive, StepLoss& m) {
  archive(m.step, m.partition, m.examples, m.loss_sum, m.rejected);
}
Traffic& Traffic::operator+=(const Traffic& other) {
  push_bytes += other.push_bytes;
  pull_bytes += other.pull_bytes;
  push_bytes_raw += other.push_bytes_raw;
  pull_bytes_raw += other.pull_bytes_raw;
  return *this;
}

template <typename Archive>
void serialize(Archive& archive, Traffic& m) {
  archive(m.push_bytes, m.pull_bytes, m.push_bytes_raw, m.pull_bytes_raw);
}
template <typename Archive>
void serialize(Archive& archive, Losses& m) {
  archive(m.rows, m.traffic);
}
template <typename Archive>
void serialize(Archive& archive, Contribution& m) {
  archive(m.tag, m.sum, m.values);
}
template <typename Archive>
void serialize(Archive& archive, Total& m) {
  archive(m.tag, m.values);
}
template <typename Archive>
void serialize(Archive& archive, Log& m) {
  archive(m.warning, m.text);
}
template <typename Archive>
void serialize(Archive& archive, Failure& m) {
  archive(m.process, m.fault, m.phase, m.text);
}
template <typename Archive>
void serialize(Archive& archive, Drain& m) {
  archive(m.step);
}
template <typename Archive>
void serialize(Archive& archive, PartitionClock& m) {
  archive(m.first, m.count, m.step, m.worker, m.incarnation);
}
template <typename Archive>
void serialize(Archive& archive, Waiting& m) {
  archive(m.text, m.partitions, m.step, m.survives);
}
template <typename Archive>
void serialize(Archive& archive, Scale& m) {
  archive(m.workers);
}
template <typename Archive>
void serialize(Archive& archive, MemberStatus& m) {
  archive(m.process, m.pid, m.host, m.state, m.silent_seconds);
}
template <typename Archive>
void serialize(Archive& archive, Status& m) {
  archive(m.job, m.phase, m.step, m.steps, m.still_seconds, m.saved, m.checkpoint, m.incarnation,
          m.partitions, m.members, m.waits, m.set_aside, m.survives);
}
template <typename Archive>
void serialize(Archive& archive, Finished& m) {
  archive(m.traffic, m.duplicates, m.cpu_seconds, m.peak_rss_bytes, m.training_seconds, m.steps,
          m.shared_lanes, m.lanes, m.exchange_seconds, m.dropped, m.stood_in, m.lane_pauses,
          m.survives);
}

template <typename Message>
std::vector<std::byte> to_bytes(const Message& message) {
  std::vector<std::byte> bytes;
  ByteWriter archive(bytes);
  archive(message);
  return bytes;
}

template <typename Message>
Message from_bytes(std::span<const std::byte> bytes) {
  Message message;
  ByteReader archive(bytes);
  archive(message);
  if (archive.left() != 0) {
    fail(Fault::network, "control message has {} bytes too many", archive.left());
  }
  return message;
}

#define SHEAF_MESSAGE(type)                                    \
  template std::vector<std::byte> to_bytes<type>(const type&); \
  template type from_bytes<type>(std::span<const std::byte>);
SHEAF_MESSAGE(ProcessInfo)
SHEAF_MESSAGE(Registration)
SHEAF_MESSAGE(Start)
SHEAF_MESSAGE(Released)
SHEAF_MESSAGE(Return)
SHEAF_MESSAGE(Losses)
SHEAF_MESSAGE(Contribution)
SHEAF_MESSAGE(Total)
SHEAF_MESSAGE(Log)
SHEAF_MESSAGE(Failure)
SHEAF_MESSAGE(Drain)
SHEAF_MESSAGE(Finished)
SHEAF_MESSAGE(CheckpointAt)
SHEAF_MESSAGE(CheckpointAnswer)
SHEAF_MESSAGE(CheckpointBase)
SHEAF_MESSAGE(Saved)
SHEAF_MESSAGE(Waiting)
SHEAF_MESSAGE(PartitionClock)
SHEAF_MESSAGE(Scale)
SHEAF_MESSAGE(Status)
#undef SHEAF_MESSAGE

}  // namespace wire
}  // namespace sheaf
