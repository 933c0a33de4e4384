#!/bin/sh
# In a build, from a folder with the sources: makes the environment /opt/semconv, builds semconv's wheel, installs and tests it,
# writes the bill of materials to /opt/sbom.cdx.json. Usage: build_semconv.sh DISTRIBUTION PACKAGES WHEELS TESTS
#   DISTRIBUTION  as purl names it, such as debian-12
#   PACKAGES      file with dpkg-query's lines of the image that will run
#   WHEELS        folder with every wheel, taken instead of the index unless it is empty
#   TESTS         arguments of pytest; empty runs none
# SEMCONV_CUDA=1 builds the CUDA kernels, SEMCONV_CUDA=0 takes a torch without CUDA.
set -eu
distribution=$1 packages=$2 wheels=$3 tests=$4
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
if [ -n "$(ls "$wheels")" ]; then
  export PIP_FIND_LINKS="$wheels" PIP_NO_INDEX=1
fi

python3 -m venv /opt/semconv
# shellcheck disable=SC2046 # nothing, or one option
scripts/release/install_locked.sh /opt/semconv/bin/python --reports /opt/reports $([ "$SEMCONV_CUDA" = 1 ] || echo --cpu)
# What only building and testing need stays out of the environment that is shipped.
/opt/semconv/bin/python -m pip install --quiet --require-hashes --no-deps --target /opt/dev --requirement requirements-dev.lock
export PYTHONPATH=/opt/dev PATH="/opt/semconv/bin:/opt/dev/bin:$PATH"
python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir /opt/wheel .
python -m pip install --quiet --no-deps /opt/wheel/semconv-*.whl

if [ -n "$tests" ]; then
  # Beside a copy of the tests, away from the sources, `import semconv` can only be the wheel.
  mkdir /opt/check
  cp -r tests pyproject.toml /opt/check
  # shellcheck disable=SC2086 # several arguments
  (cd /opt/check && python -m pytest -p no:cacheprovider -q $tests)
fi
site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
env -u PYTHONPATH python -m pip uninstall --quiet --yes pip
(cd /opt && python "$OLDPWD/scripts/release/sbom.py" /opt/sbom.cdx.json --site-packages "$site" --debian "$packages" \
  --distribution "$distribution" --reports /opt/reports --wheel /opt/wheel/semconv-*.whl)
