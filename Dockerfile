# The resource's image: build → resource → tests → resource. The plain result is the last stage; `--target resource`
# builds only that, `--target tests` runs the suite inside what ships. Needs no BuildKit.
#
# The base is a slim Debian with Python ≥ 3.11. Pin it by digest where the image is built for others:
#   docker build --build-arg base_image=python:3.13-slim-bookworm@sha256:<digest> .
ARG base_image=python:3.13-slim-bookworm

FROM ${base_image} AS build
# All times in the layer, in seconds since 1970, so that two builds give the same digest.
ARG SOURCE_DATE_EPOCH=0
# The base's files become part of the one layer that ships, without what only a build or a person at a shell needs
# (perl5 is a second name of perl, which COPY would turn into a second copy).
RUN mkdir /out && cd / \
 && tar --create --one-file-system --exclude=./out --exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*' \
      --exclude='./var/log/*' --exclude='./tmp/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
      --exclude='./usr/lib/*/gconv' --exclude='./usr/lib/python3*/lib2to3' --exclude='./usr/bin/perl5*' \
      --exclude='./usr/local/bin/pip*' --exclude='./usr/local/lib/python3*/site-packages/*' \
      --exclude='./usr/local/lib/python3*/ensurepip' . \
  | tar --extract --directory=/out
# `wheelhouse/` is there after `make wheelhouse`: then it is the only place that packages come from.
COPY requirements.txt wheelhouse* /build/
RUN set -- /build/pip-*.whl \
 && if [ -e "$1" ]; then pip="$1/pip"; from="--no-index --find-links=/build"; else pip="-m pip"; from=""; fi \
 && python3 -m venv --without-pip /out/opt/.venv \
 && python3 $pip --no-input --python /out/opt/.venv/bin/python install --no-cache-dir --no-compile --require-hashes \
      --only-binary=:all: $from --requirement /build/requirements.txt
COPY assets resource /out/opt/resource/
# Never used here: the descriptions of all of AWS but the services that log in to ECR, the grammars with which rich could
# colour source code, console scripts. Byte code is not held against its source at start-up: neither ever changes.
RUN cd /out/opt/.venv/lib/python3*/site-packages \
 && rm -rf pygments pygments-*.dist-info \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d \
      ! -name sts ! -name ecr ! -name ecr-public ! -name sso ! -name sso-oidc -exec rm -rf {} + \
 && find /out/opt/.venv/bin -type f -delete \
 && chmod 0755 /out/opt/resource/check /out/opt/resource/in /out/opt/resource/out \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /out /out/opt \
 && find /out -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM scratch AS resource
ARG version=0.0.0
ARG revision=unknown
LABEL org.opencontainers.image.title="registry-image-resource" \
      org.opencontainers.image.description="A Concourse resource for container images: exact, verified, safe" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${version}" \
      org.opencontainers.image.revision="${revision}"
COPY --from=build /out/ /

# The suite, inside what ships: the interpreter, the packages and the files of the stage above. What only tests need comes
# last on the path, so that it hides nothing; the AWS that tests talk to needs the description of IAM beside the others.
FROM ${base_image} AS tools
COPY requirements-dev.txt wheelhouse* /build/
RUN set -- /build/pip-*.whl \
 && if [ -e "$1" ]; then pip="$1/pip"; from="--no-index --find-links=/build"; else pip="-m pip"; from=""; fi \
 && python3 $pip --no-input install --no-cache-dir --no-compile --require-hashes --only-binary=:all: $from \
      --target /tools --requirement /build/requirements-dev.txt

FROM resource AS tests
COPY --from=tools /tools /tools
COPY . /src
RUN cd /src && rm -rf assets resource .venv \
 && ln -s /opt/resource assets && ln -s /opt/resource resource && ln -s /opt/.venv .venv \
 && cd .venv/lib/python3*/site-packages && echo /tools >tools.pth && ln -s /tools/botocore/data/iam botocore/data/iam \
 && cd /src && .venv/bin/python -m pytest -q -p no:cacheprovider tests/unit tests/property

FROM resource
