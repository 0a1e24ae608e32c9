#include "worker/data/transforms/transformed_source.h"

#include <utility>
#include <vector>

#include "common/math/kernels.h"
#include "worker/data/examples.h"

namespace sheaf::worker {
namespace {

class TransformedSource final : public Source {
 public:
  TransformedSource(std::unique_ptr<Source> source, std::unique_ptr<Transform> transform)
      : source_(std::move(source)), transform_(std::move(transform)) {}

  Schema schema() override { return transformed_schema(source_->schema(), transform_.get()); }
  std::uint64_t rows(SourcePart part) override { return source_->rows(part); }

  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    const Schema before = source_->schema();
    Examples raw(before);
    source_->read(part, keep, raw);
    std::vector<float> inputs(before.features);
    std::vector<float> outputs(transform_->outputs());
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (before.bytes) math::bytes_to_unit(raw.bytes(i), inputs);
      transform_->apply(before.bytes ? std::span<const float>(inputs) : raw.floats(i), outputs);
      into.append(raw.row(i), outputs, raw.targets(i));
    }
  }

  std::string locate(SourcePart part, std::uint64_t row) const override {
    return source_->locate(part, row);
  }
  std::string users_by() const override { return source_->users_by(); }
  std::vector<std::uint32_t> users() override { return source_->users(); }
  std::vector<std::filesystem::path> files() const override { return source_->files(); }

 private:
  std::unique_ptr<Source> source_;
  std::unique_ptr<Transform> transform_;
};

}  // namespace

Schema transformed_schema(const Schema& source, const Transform* transform) {
  if (transform == nullptr) return source;
  return {transform->outputs(), source.targets, false};
}

std::unique_ptr<Source> transformed(std::unique_ptr<Source> source,
                                    std::unique_ptr<Transform> transform) {
  if (!transform) return source;
  return std::make_unique<TransformedSource>(std::move(source), std::move(transform));
}

}  // namespace sheaf::worker
