#!/usr/bin/env bash
# Faults of a differentially private trainer, put into the code on purpose, one at a time: does a
# test find each? A copy of a source is changed, compiled as the source is, and linked into a test
# program before the libraries, so that it takes the place of the object in there. Then a test of
# that program, which passes without the fault, has to fail.
set -euo pipefail

readonly usage="usage: tests/dp-mutants.sh [NAME …]
Without a name: all faults of the table in this file.
Needs launcher/install-deps.sh --tests. Exit 0: tests found every one."

# table DO: calls DO with the rows, each
#   NAME SOURCE PROGRAM FILTER TEXT REPLACEMENT [TEXT REPLACEMENT …]
# In SOURCE stands every TEXT exactly once; FILTER are tests of PROGRAM. docs/privacy.md has the
# same rows in words.
table() {
  "$1" half-the-noise common/privacy/gaussian.cpp \
    common_privacy_tests 'Gaussian.AddsNormalNoiseOfTheNormTimesTheMultiplier' \
    'deviation_of(noise, clip))' 'deviation_of(noise / 2, clip))'

  "$1" no-clipping worker/models/clipped_gradient.cpp \
    worker_models_tests '*ClippedGradient.OneExampleMoreChangesTheSumByNoMoreThanTheBound/*' \
    'return clip.weight(sum);' 'return clip.weight(sum) == 0 ? 0.0F : 1.0F;'

  "$1" clipping-the-mean worker/models/clipped_gradient.cpp \
    worker_models_tests '*ClippedGradient.OneExampleMoreChangesTheSumByNoMoreThanTheBound/*' \
    'return clip.weight(sum);' 'return clip.weight(sum) == 0 ? 0.0F : 1.0F;' \
    'return result;' '
      double squares_of_mean = 0;
      for (const float g : gradient) {
        squares_of_mean += std::pow(static_cast<double>(g) / static_cast<double>(n), 2);
      }
      for (float& g : gradient) g *= clip.weight(squares_of_mean);
      return result;'

  "$1" clipping-by-layer worker/models/clipped_gradient.cpp \
    worker_models_tests '*ClippedGradient.OneExampleMoreChangesTheSumByNoMoreThanTheBound/*' \
    'layers_[i]->example_rule()->sum(weights, in,' '
      std::ranges::fill(squares, 0.0);
      layers_[i]->example_rule()->add_squares(in, signals_[i].first(n * layers_[i]->outputs()),
                                              squares);
      std::ranges::transform(squares, weights.begin(),
                             [&](double sum) { return clip.weight(sum); });
      layers_[i]->example_rule()->sum(weights, in,'

  "$1" noise-without-input common/privacy/gaussian.cpp \
    common_privacy_tests 'Gaussian.NothingElseGetsTheSameNoise' \
    'secret_.key(name, std::as_bytes(values))' 'secret_.key(name, {})'

  "$1" codec-before-noise worker/step/training_step.cpp \
    cluster_tests 'ThreadsTest.WhatIsNoisedByItsPartitionMayBeEncoded' \
    'const Clipped clipped = gradient_.chunk(sum);' '
      if (!parts_.compressor.identity() && parts_.mechanism.perturbs_at_worker()) {
        const compression::EncodingKey key{parts_.seed, step, partition, chunk};
        const std::size_t size = parts_.compressor.encode(sum, key, into);
        std::ranges::fill(sum, 0.0F);
        parts_.compressor.decode_add(into.first(size), key, sum);
      }
      const Clipped clipped = gradient_.chunk(sum);'

  "$1" shuffle-as-poisson launcher/config/private_config.cpp \
    launcher_config_tests 'PrivateConfig.ShuffledBatchesCostAWholeStepInEachEpoch' \
    'const bool poisson = data_.sampling == worker::Sampling::poisson;' 'const bool poisson = true;'

  "$1" no-empty-batches worker/data/batcher.cpp \
    worker_data_tests 'TrainingBatchesTest.OfSamplesAreAsOftenEmptyAsTheLawHasIt' \
    'sampler->sample(step, partition, share.size(), places);' '
      sampler->sample(step, partition, share.size(), places);
      for (Step next = step + 1; places.empty(); ++next) {
        sampler->sample(next, partition, share.size(), places);
      }'

  "$1" realised-batch worker/step/training_step.cpp \
    cluster_tests 'ThreadsTest.PrivateTrainingGivesTheBitsOfTheReferenceForEveryHosting' \
    'const double loss = compute(step_, partition, batch, workspace_->sums[depth], this);' '
      node_examples_ += batch.examples;
      node_examples_ -= std::min(node_examples_ - 1, parts_.plan.count(step_, partition));
      const double loss = compute(step_, partition, batch, workspace_->sums[depth], this);'

  "$1" partitions-share-noise worker/step/training_step.cpp \
    cluster_tests 'ThreadsTest.PrivateTrainingGivesTheBitsOfTheReferenceForEveryHosting' \
    'noised(clipped, parts_.mechanism, {step, partition, chunk})' \
    'noised(clipped, parts_.mechanism, {step, 0, chunk})'

  "$1" samples-from-seed launcher/rank/roles.cpp \
    launcher_rank_tests 'WorkerRoleTest.PrivateSamplesComeFromTheSecretAndNotFromTheSeedOfTheRun' \
    'sampler_.emplace(secret,' 'sampler_.emplace(open_secret(config_.run().seed),'
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cores=$(cmake/build-jobs.sh)
readonly cores
readonly patience=120s  # of one run of the tests
selected=() names=() programs=()

is_selected() { ((${#selected[@]} == 0)) || [[ " ${selected[*]} " == *" $1 "* ]]; }

note() {
  known+=("$1")
  is_selected "$1" || return 0
  names+=("$1")
  programs+=("$3")
}

# with_fault SOURCE TEXT REPLACEMENT …: prints the source with all texts replaced.
with_fault() {
  local source=$1 code before after
  shift
  code=$(<"$source")
  while (($# > 0)); do
    before=${code%%"$1"*} after=${code#*"$1"}
    if [[ $before == "$code" || $after == *"$1"* ]]; then
      echo "the row no longer fits the source: expected exactly once in $source: $1" >&2
      return 1
    fi
    code=$before$2$after
    shift 2
  done
  printf '%s\n' "$code"
}

# What of an object can be defined once in a program: symbols that are external and not weak.
strong_symbols() {
  nm --extern-only --defined-only --format=posix "$1" | awk '$2 ~ /^[TDBR]$/ { print $1 }' | sort
}

# The command by which ninja makes a file, to be run in build/.
command_of() { ninja -C build -t commands -s "$1"; }

# compile SOURCE FOLDER: FOLDER/mutant.o of FOLDER/mutant.cpp, by the command of the source. In the
# libraries stands an object with the same strong symbols: were it linked, too, the linker would
# find them defined twice.
compile() {
  local side=${1%%/*} object command
  object=$side/CMakeFiles/sheaf_$side.dir/${1#*/}.o
  command=$(command_of "$object")
  [[ $command == *' -MD '* ]] || { echo "no compiler's command: $command" >&2 && return 1; }
  (cd build && eval "${command%% -MD *} -w -o $2/mutant.o -c $2/mutant.cpp") || return
  strong_symbols "build/$object" >"build/$2/symbols"
  [[ -s build/$2/symbols ]] && strong_symbols "build/$2/mutant.o" | cmp - "build/$2/symbols"
}

# link PROGRAM FOLDER: FOLDER/PROGRAM, with the mutant before the libraries.
link() {
  local command output=" -o tests/$1 "
  command=$(command_of "tests/$1")
  command=${command%% && cd *}  # what comes after it looks for tests
  [[ $command == *"$output"* ]] || { echo "no linker's command: $command" >&2 && return 1; }
  (cd build && eval "${command%%"$output"*} $2/mutant.o -o $2/$1 ${command#*"$output"}")
}

# run_tests PROGRAM FILTER OUTPUT
run_tests() {
  (cd build/tests && exec timeout "$patience" "$1" --gtest_brief=1 --gtest_filter="$2") >"$3" 2>&1
}

# judge ROW: prints the verdict. Exit 0: the fault was found.
judge() {
  local name=$1 source=$2 program=$3 filter=$4 folder=mutants/$1 status=0 killer
  local output=build/$folder/output
  shift 4
  mkdir -p "build/$folder"
  rm -f "build/$folder"/*
  if ! { with_fault "$source" "$@" >"build/$folder/mutant.cpp" && compile "$source" "$folder" &&
    link "$program" "$folder"; } >"$output" 2>&1; then
    printf '%-24s CANNOT BE MADE\n' "$name"
    cat "$output"
    return 1
  fi
  if ! run_tests "$PWD/build/tests/$program" "$filter" "$output" ||
    ! grep -q '^\[  PASSED  \] [1-9]' "$output"; then
    printf '%-24s %s DOES NOT PASS without it\n' "$name" "$filter"
    tail -n 20 "$output"
    return 1
  fi
  run_tests "$PWD/build/$folder/$program" "$filter" "$output" || status=$?
  killer=$(grep -oPm1 '^\[  FAILED  \] \K\D[^ ,]*' "$output") || true
  if ((status != 1)) || [[ -z $killer ]]; then  # not by a signal, nor because time was up
    printf '%-24s SURVIVES %s (exit %d)\n' "$name" "$filter" "$status"
    tail -n 20 "$output"
    return 1
  fi
  rm "build/$folder/$program"
  printf '%-24s killed by %s %s\n' "$name" "$program" "$killer"
}

start() {
  is_selected "$1" || return 0
  while (($(jobs -pr | wc -l) >= cores)); do wait -n || true; done
  { judge "$@" && touch "$work/$1.killed"; } >"$work/$1" 2>&1 &
}

for word in "$@"; do
  case $word in
    -h | --help) echo "$usage" && exit 0 ;;
    *) selected+=("$word") ;;
  esac
done
known=()
table note
for name in "${selected[@]}"; do
  [[ " ${known[*]} " == *" $name "* ]] && continue
  echo "dp-mutants: no fault '$name'; there are: ${known[*]}" >&2
  exit 2
done

work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT
{
  cmake --preset release -DSHEAF_TESTS=ON
  cmake --build --preset release --target "${programs[@]}" --parallel "$cores"
} >&2

table start
wait
killed=0
for name in "${names[@]}"; do
  cat "$work/$name"
  [[ ! -e $work/$name.killed ]] || killed=$((killed + 1))
done
echo "$killed of ${#names[@]} killed"
((killed == ${#names[@]}))
