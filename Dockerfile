# Two images, x86_64 only: `cpu` (Debian 12, Python 3.11) and `gpu` (Ubuntu 24.04, Python 3.12, CUDA 13.0).
# scripts/release/build_image.sh builds them with docker (BuildKit), podman or buildah; make image-check builds and runs `cpu`.
# The gpu image was not run: it needs the bases below and, to run, an NVIDIA GPU. `docker run IMAGE` = `semconv reproduce mini`.
#
# Bases by tag; scripts/release/resolve_digests.sh writes the digest behind each tag into these lines.
ARG CPU_BASE=debian:bookworm-slim
ARG GPU_BUILD_BASE=nvidia/cuda:13.0.2-devel-ubuntu24.04
ARG GPU_BASE=nvidia/cuda:13.0.2-runtime-ubuntu24.04
# Debian's and Ubuntu's packages as of this moment, from their snapshot services; empty takes today's. Not older than the bases.
ARG APT_SNAPSHOT=20261120T000000Z
# Arguments of pytest; empty runs no tests. A failing test fails the build. The two left out are of setup.py in a source tree.
ARG RUN_TESTS="tests/core/test_ops.py tests/core/test_streaming.py tests/core/test_sparse.py tests/matching/test_matching.py tests/compare \
  tests/statistics/test_permutation.py tests/cli/test_cli.py \
  --deselect tests/cli/test_cli.py::test_no_compiler_is_one_sentence \
  --deselect tests/cli/test_cli.py::test_cuda_asked_for_without_nvcc_is_an_error"
# An index for pip beside its usual one: the cpu image needs PyTorch's CPU index, for a torch without CUDA.
ARG PIP_EXTRA_INDEX_URL
# Who runs it, and whose /results is.
ARG UID=1000
# Of the sources: scripts/release/build_image.sh fills them in.
ARG SEMCONV_COMMIT=unknown
ARG VERSION=unknown
ARG SOURCE_DATE_EPOCH=0

# A folder of all the wheels, taken instead of the package index: --build-context wheels=FOLDER. Empty unless given.
FROM scratch AS wheels

FROM ${CPU_BASE} AS cpu-base
ARG APT_SNAPSHOT
RUN --mount=type=bind,source=scripts/release/image,target=/mnt/image \
    /mnt/image/install_debian.sh "$APT_SNAPSHOT" python3 libgomp1 && \
    dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\n' >/opt/packages.tsv

FROM cpu-base AS cpu-build
ARG APT_SNAPSHOT
RUN --mount=type=bind,source=scripts/release/image,target=/mnt/image \
    /mnt/image/install_debian.sh "$APT_SNAPSHOT" g++ python3-dev python3-venv
WORKDIR /opt/source
COPY . .
ARG SEMCONV_COMMIT
ARG SOURCE_DATE_EPOCH
ARG RUN_TESTS
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=bind,from=wheels,target=/mnt/wheels --mount=type=cache,target=/root/.cache/pip \
    SEMCONV_CUDA=0 scripts/release/image/build_semconv.sh debian-12 /opt/packages.tsv /mnt/wheels "$RUN_TESTS"

FROM cpu-base AS cpu
COPY --from=cpu-build /opt/semconv /opt/semconv
COPY --from=cpu-build /opt/sbom.cdx.json /usr/share/semconv/sbom.cdx.json
ARG UID
ARG SEMCONV_COMMIT
ARG VERSION
RUN rm /opt/packages.tsv && install -d -m 0755 /models && install -d -o "$UID" -g "$UID" /results
# Any uid may run it: HOME and USER stand for an entry in /etc/passwd. Models come from /models, mounted read-only, in the
# layout of a hub cache; to download, mount it writable and set HF_HUB_OFFLINE=0.
ENV PATH=/opt/semconv/bin:$PATH HOME=/tmp USER=semconv PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/models HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 SEMCONV_COMMIT=$SEMCONV_COMMIT
LABEL org.opencontainers.image.title="semconv" \
      org.opencontainers.image.description="Do two language models of different size represent the same features? CPU image; reproduces the mini suite." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$SEMCONV_COMMIT"
USER ${UID}:${UID}
WORKDIR /results
ENTRYPOINT ["semconv"]
CMD ["reproduce", "mini"]

# Not run: see the head.
FROM ${GPU_BASE} AS gpu-base
ARG APT_SNAPSHOT
RUN --mount=type=bind,source=scripts/release/image,target=/mnt/image \
    /mnt/image/install_debian.sh "$APT_SNAPSHOT" python3 libgomp1 && \
    dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\n' >/opt/packages.tsv

FROM ${GPU_BUILD_BASE} AS gpu-build
ARG APT_SNAPSHOT
RUN --mount=type=bind,source=scripts/release/image,target=/mnt/image \
    /mnt/image/install_debian.sh "$APT_SNAPSHOT" g++ python3-dev python3-venv
WORKDIR /opt/source
COPY --from=gpu-base /opt/packages.tsv /opt/packages.tsv
COPY . .
ARG SEMCONV_COMMIT
ARG SOURCE_DATE_EPOCH
# The default of setup.py, written out: A100, RTX 30 and A10, RTX 40 and L4, H100 and H200; later ones through PTX.
ARG SEMCONV_CUDA_ARCHS="8.0;8.6;8.9;9.0+PTX"
ARG RUN_TESTS
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=bind,from=wheels,target=/mnt/wheels --mount=type=cache,target=/root/.cache/pip \
    SEMCONV_CUDA=1 SEMCONV_CUDA_ARCHS="$SEMCONV_CUDA_ARCHS" \
    scripts/release/image/build_semconv.sh ubuntu-24.04 /opt/packages.tsv /mnt/wheels "$RUN_TESTS"

FROM gpu-base AS gpu
COPY --from=gpu-build /opt/semconv /opt/semconv
COPY --from=gpu-build /opt/sbom.cdx.json /usr/share/semconv/sbom.cdx.json
ARG UID
ARG SEMCONV_COMMIT
ARG VERSION
RUN rm /opt/packages.tsv && install -d -m 0755 /models && install -d -o "$UID" -g "$UID" /results
ENV PATH=/opt/semconv/bin:$PATH HOME=/tmp USER=semconv PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/models HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 SEMCONV_COMMIT=$SEMCONV_COMMIT
LABEL org.opencontainers.image.title="semconv" \
      org.opencontainers.image.description="Do two language models of different size represent the same features? CUDA image." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$SEMCONV_COMMIT"
USER ${UID}:${UID}
WORKDIR /results
# NVIDIA's own entrypoint prints a banner and is not wanted.
ENTRYPOINT ["semconv"]
CMD ["reproduce", "mini"]
