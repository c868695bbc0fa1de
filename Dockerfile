# The Python and the Debian that .ci/run tests on. Pin it by digest where builds must repeat:
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# --- build: the environment, from locked and hashed wheels; nothing is compiled ------------

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/keyporter
COPY requirements.txt /build/requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/keyporter/bin/python -m pip install --quiet --require-hashes --only-binary :all: \
    --requirement /build/requirements.txt
RUN /opt/keyporter/bin/python -m pip uninstall --quiet --yes pip setuptools

# --- the server ----------------------------------------------------------------------------

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Keyporter" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/keyporter/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/keyporter
COPY --from=build /opt/keyporter /opt/keyporter
COPY LICENSE requirements.txt config.py gunicorn.conf.py wsgi.py ./
COPY migrations migrations
COPY keyporter keyporter
COPY app app
# Compiled here, because the server may write nowhere but in instance/: a read-only root is fine.
RUN python -m compileall -q config.py wsgi.py keyporter app
RUN install -d -o 10001 -g 10001 -m 0700 /srv/keyporter/instance
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
# The SQLite file, where no DATABASE_URL names a PostgreSQL.
VOLUME /srv/keyporter/instance
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "gunicorn", "--bind", "0.0.0.0:8000"]
