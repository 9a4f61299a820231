# Luthier with an NVIDIA GPU. torch's wheels bring the CUDA libraries, the host's driver comes in through the NVIDIA
# container toolkit, so no CUDA image is needed below. Build from the project's root:
#   docker build -f docker/cuda.Dockerfile -t luthier:cuda .
# Another CUDA build of torch, for an older driver:  --build-arg TORCH=cu126
FROM python:3.11-slim-bookworm

# Triton compiles small pieces of C when a kernel is first used.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 luthier && mkdir /luthier /data && chown luthier:luthier /luthier /data
USER luthier
WORKDIR /luthier
ENV LUTHIER_HOME=/data PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY --chown=luthier:luthier . .
# No GPU is visible while an image is built, so the build of torch is named: the registry's is the CUDA one on Linux.
ARG TORCH=plain
RUN LUTHIER_HOME=/tmp/build python3 start.py setup --torch ${TORCH} && rm -rf /tmp/build

VOLUME /data
EXPOSE 7860
CMD ["python3", "start.py", "--host", "0.0.0.0", "--port", "7860", "--no-browser"]
