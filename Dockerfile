# The resource's image: build → resource → tests → resource. The plain result is the last stage; `--target resource`
# builds only that, `--target tests` runs the suite inside what ships. Needs no BuildKit.
#
# The base is a slim Debian with Python ≥ 3.11. Pin it by digest where the image is built for others:
#   docker build --build-arg base_image=python:3.13-slim-bookworm@sha256:<digest> .
ARG base_image=python:3.13-slim-bookworm

FROM ${base_image} AS build
# `wheelhouse/` is there after `make wheelhouse`: then it is the only place that packages come from.
COPY requirements.txt .ci/requirements-sbom.txt wheelhouse* /build/
# Uninstalled: guessing of encodings, a compiler of C declarations, and a second cryptography. docs/image.md says how it was
# seen that nothing reaches them.
RUN set -- /build/pip-*.whl \
 && if [ -e "$1" ]; then pip="$1/pip"; from="--no-index --find-links=/build"; else pip="-m pip"; from=""; fi \
 && python3 -m venv --without-pip /sbom && python3 -m venv --without-pip /out/opt/.venv \
 && install="install --no-cache-dir --no-compile --require-hashes --no-deps --only-binary=:all: $from --requirement" \
 && python3 $pip --no-input --python /sbom/bin/python $install /build/requirements-sbom.txt \
 && pip="$pip --no-input --python /out/opt/.venv/bin/python" \
 && python3 $pip $install /build/requirements.txt \
 && python3 $pip uninstall --yes charset-normalizer pyasn1 pyasn1-modules pycparser
COPY assets resource /out/opt/resource/
COPY .ci/rootfs .ci/sbom pyproject.toml /build/
ARG version=0.0.0
# The time of all files, in seconds since 1970, so that two builds give the same digest. BuildKit takes it for the image, too.
ARG SOURCE_DATE_EPOCH=0
# A checkout's modes follow the umask of who made it; the image's do not.
RUN chmod -R u=rwX,go=rX /out/opt/resource \
 && chmod 0755 /out/opt/resource/check /out/opt/resource/in /out/opt/resource/out \
 && /build/rootfs /out \
 && PATH="/sbom/bin:$PATH" SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" /build/sbom /out /build/pyproject.toml "$version" \
      /out/opt/resource/sbom.cdx.json \
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
# last on the path, so that it hides nothing: their packages, and what was dropped of the standard library; the AWS that tests
# talk to needs the description of IAM beside the others.
FROM ${base_image} AS tools
COPY requirements-dev.txt wheelhouse* /build/
RUN set -- /build/pip-*.whl \
 && if [ -e "$1" ]; then pip="$1/pip"; from="--no-index --find-links=/build"; else pip="-m pip"; from=""; fi \
 && python3 $pip --no-input install --no-cache-dir --no-compile --require-hashes --no-deps --only-binary=:all: $from \
      --target /tools --requirement /build/requirements-dev.txt
COPY . /src
RUN cd /src && rm -rf assets resource .venv \
 && ln -s /opt/resource assets && ln -s /opt/resource resource && ln -s /opt/.venv .venv \
 && cp -r "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" /standard-library \
 && mkdir /programs && cd / \
 && for program in openssl setpriv unshare; do \
      for file in $(command -v $program) $(ldd "$(command -v $program)" | grep -o '/[^ ]*'); do \
        cp --dereference --parents "$(realpath "${file%/*}")/${file##*/}" /programs; done; done

# What the tests wrote does not stay: BuildKit fails to export a layer with paths as long as theirs.
FROM resource AS tests
COPY --from=tools /programs /
COPY --from=tools /tools /tools
COPY --from=tools /standard-library /standard-library
COPY --from=tools /src /src
RUN cd /opt/.venv/lib/python3*/site-packages \
 && printf '%s\n' /tools /standard-library /standard-library/lib-dynload >tools.pth \
 && python3 -c 'import os; os.symlink("/tools/botocore/data/iam", "botocore/data/iam")' \
 && cd /src && PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -q -p no:cacheprovider \
      -o tmp_path_retention_policy=none tests/unit

FROM resource
