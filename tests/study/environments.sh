#!/usr/bin/env bash
# The tests where other machines differ and no result may: BLAS, width of the vectors, threads, order of sets, day, language.
# All: `make environments`. One of them, or a part of the tests: tests/study/environments.sh narrow tests/stats
set -uo pipefail
cd "$(dirname "$0")/../.."
# What numpy was compiled for beyond every processor's, and this one has, but for the names given.
wide() {
    .venv/bin/python - "$@" <<'PYTHON'
import sys
from numpy._core._multiarray_umath import __cpu_dispatch__ as names, __cpu_features__ as has
print(*(name for name in names if has.get(name) and name not in sys.argv), sep=",")
PYTHON
}
declare -A environments=(
    [plain]="PYTHONHASHSEED=0"
    [haswell]="OPENBLAS_CORETYPE=Haswell OPENBLAS_NUM_THREADS=2 TEST_DUCKDB_THREADS=1 PYTHONHASHSEED=1 TZ=Asia/Tokyo"
    [skylake]="OPENBLAS_CORETYPE=SkylakeX OPENBLAS_NUM_THREADS=1 TEST_DUCKDB_THREADS=2 PYTHONHASHSEED=2 TZ=America/New_York"
    [half]="NPY_DISABLE_CPU_FEATURES=$(wide X86_V3) OPENBLAS_NUM_THREADS=2 TEST_DUCKDB_THREADS=4 PYTHONHASHSEED=3 LC_ALL=C TZ=UTC"
    [narrow]="NPY_DISABLE_CPU_FEATURES=$(wide) OPENBLAS_CORETYPE=Nehalem TEST_DUCKDB_THREADS=1 PYTHONHASHSEED=1 LANG=C TZ=Asia/Tokyo"
)
names=(plain haswell half narrow)
if grep -q avx512f /proc/cpuinfo; then names+=(skylake); fi
if [[ $# -gt 0 && -v environments[$1] ]]; then names=("$1"); shift; fi
worst=0
for name in "${names[@]}"; do
    printf '== %s: %s\n' "$name" "${environments[$name]}"
    # shellcheck disable=SC2086  # NAME=value, several
    env ${environments[$name]} .venv/bin/pytest -q -n 2 --dist worksteal -m "not slow and not browser" "$@" || worst=1
done
exit $worst
