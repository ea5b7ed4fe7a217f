# Trains on the CPU, by default the default experiment:
#   docker build -t lockstep-dqn .
#   docker run --rm -v "$PWD/outputs:/home/dqn/outputs" --user "$(id -u):$(id -g)" lockstep-dqn env=acrobot num_seeds=8
FROM python:3.13.7-slim-bookworm AS build

# The packages change less often than the code, so they are a layer before it.
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
    && pip install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY conf conf
COPY dqn dqn
COPY hydra_plugins hydra_plugins
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps .

FROM python:3.13.7-slim-bookworm

COPY --from=build /opt/venv /opt/venv
# HOME and the caches can be written by any user, for docker run --user.
RUN useradd --uid 1000 --create-home dqn && mkdir -p /home/dqn/outputs && chown -R dqn /home/dqn && chmod 777 /home/dqn /home/dqn/outputs
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp XDG_CACHE_HOME=/tmp/cache PYTHONUNBUFFERED=1
USER 1000
WORKDIR /home/dqn
VOLUME /home/dqn/outputs
ENTRYPOINT ["dqn-train"]
