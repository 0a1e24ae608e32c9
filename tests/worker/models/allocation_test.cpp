// After reserve() a pass allocates nothing. This file replaces operator new of the whole test
// program by one that counts; the count means something only between two readings on one thread.
#include <gmock/gmock.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "common/privacy/clip.h"
#include "tests/worker/models/job_model.h"

namespace {

std::atomic<std::size_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  if (void* memory = std::aligned_alloc(alignment, rounded)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// The forms that the library's others call; with a sanitizer the nothrow form calls none of them.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size);
}
void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace sheaf::worker {
namespace {

TEST(ModelAllocation, NothingIsAllocatedAfterReserve) {
  JobModel job(R"(
loss = "softmax_cross_entropy"
layers = [
  { kind = "dense", units = 20, activation = "relu" },
  { kind = "dropout", rate = 0.2 },
  { kind = "sigmoid" },
  { kind = "tanh" },
  { kind = "relu" },
  { kind = "dense", units = 10, bias = false, activation = "tanh" },
]
)",
               {30, 1});
  ASSERT_THAT(job.faults(), testing::IsEmpty());
  Batch batch = make_batch(16, job.model.schema());
  batch.examples = 16;
  job.model.initialise(job.parameters, 1);
  job.model.reserve(16);
  std::span<const float> outputs;
  job.model.gradient(job.parameters, batch, {}, job.gradient);  // BLAS takes its memory once

  const std::size_t before = allocations;
  for (const std::size_t examples : {16U, 3U, 1U, 16U}) {
    batch.examples = examples;
    job.model.gradient(job.parameters, batch, {}, job.gradient);
    job.model.evaluate(job.parameters, batch, outputs);
  }
  EXPECT_EQ(allocations - before, 0U);
  AlignedBuffer<float> one(1);
  EXPECT_EQ(allocations - before, 1U);  // the counter does count
}

TEST(ModelAllocation, NothingIsAllocatedAfterReserveClipping) {
  JobModel job(R"(
loss = "softmax_cross_entropy"
layers = [{ kind = "dense", units = 20 }, { kind = "tanh" }, { kind = "dense", units = 10 }]
)",
               {30, 1});
  Batch batch = make_batch(16, job.model.schema());
  job.model.reserve_clipping(16);
  batch.examples = 16;
  job.model.clipped_gradient(job.parameters, batch, {}, {}, job.gradient);
  const std::size_t before = allocations;
  for (const std::size_t examples : {0U, 16U, 3U}) {
    batch.examples = examples;
    job.model.clipped_gradient(job.parameters, batch, {}, {}, job.gradient);
  }
  EXPECT_EQ(allocations - before, 0U);
}

}  // namespace
}  // namespace sheaf::worker
