# Luthier on a machine without an NVIDIA GPU. Build from the project's root:
#   docker build -f docker/cpu.Dockerfile -t luthier:cpu .
FROM python:3.11-slim-bookworm

# A user of its own: the studio needs no rights, and what it writes to /data belongs to an ordinary user.
RUN useradd --create-home --uid 1000 luthier && mkdir /luthier /data && chown luthier:luthier /luthier /data
USER luthier
WORKDIR /luthier
ENV LUTHIER_HOME=/data PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1

COPY --chown=luthier:luthier . .
# The workspace that the build fills is thrown away: /data is a volume, which gets the starter model at the first start.
RUN LUTHIER_HOME=/tmp/build python3 start.py setup --torch cpu && rm -rf /tmp/build

VOLUME /data
EXPOSE 7860
# Beyond loopback browsers log in with a one-time code, printed to the container's log, or with LUTHIER_PASSWORD.
CMD ["python3", "start.py", "--host", "0.0.0.0", "--port", "7860", "--no-browser"]
