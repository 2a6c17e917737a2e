"""What to write instead of fields of docker-image-resource, of kaniko, and of other parts of a pipeline.

Imported only for a field that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

_BUILD = "nothing is built here: build in a task (oci-build-task), and set `image` to its image.tar or OCI layout"
_LOAD = "set `image` to the path of the tarball or OCI layout: it is pushed as it is"
_CACHE = "caches are of builds: give them to the task that builds"
_ADDITIONAL = "more tags are in `tags`, or in a file that `additional_tags` names"
_LOGIN = "logins to other registries are in `auths`"
_INSECURE = "set `insecure: true`: it allows plain HTTP to the registry of `repository`"
_CERTIFICATES = "set `ca_certs` to an array of PEM texts"
_VERIFIED = "TLS is always verified: add the authority's certificate to `ca_certs` in source"
_RESOURCE = "it belongs to the resource, beside `source`"
_STEP = "it belongs to the step, beside `params`"

SOURCE: Mapping[str, str] = {
    "insecure_registries": _INSECURE,
    "insecure_registry": _INSECURE,
    "skip_tls_verify": "TLS is always verified: add the authority's certificate to `ca_certs`",
    "skip_ssl_verification": "TLS is always verified: add the authority's certificate to `ca_certs`",
    "additional_private_registries": _LOGIN,
    "registries": _LOGIN,
    "max_concurrent_uploads": "it is not needed: layers are uploaded several at a time",
    "email": "it is not needed: registries do not ask for it",
    "server_args": "there is no Docker daemon here: nothing takes its arguments",
    "ca_cert": _CERTIFICATES,
    "ca_certificates": _CERTIFICATES,
    "image": "`repository` names the image, with its registry",
    "name": "`repository` names the image, with its registry",
    "url": "`repository` names the image, with its registry and without https://",
    "registry": "write it in front of `repository`, such as registry.example/team/app",
    "host": "write it in front of `repository`, such as registry.example/team/app",
    "token": "set `username` and `password`: the password may be a token",
    "docker_config": "it is called `docker_config_json`",
    "tag_file": "a tag from a file belongs to params of put: `version`, or `additional_tags`",
    "tag_filter": "it is called `tag_regex`",
    "semver": "set `semver_constraint`, or leave out `tag` to follow all semantic versions",
    "version": "set `tag` or `semver_constraint`; the version to push belongs to params of put",
    "tags": "set `tag` to one, or `tag_regex` for several; the tags to push belong to params of put",
    "platforms": "set `platform` to one; the platforms to push belong to params of put",
    "source": "write its fields directly in `source`",
    "params": "it belongs to the step, get or put",
    **dict.fromkeys(("check_every", "check_timeout", "icon", "public", "type", "webhook_token"), _RESOURCE),
}
_PARAMS: Mapping[str, str] = {
    "insecure_registries": "set `insecure: true` in source",
    "skip_tls_verify": _VERIFIED,
    "source": "it belongs to the resource",
    "params": "write its fields directly in `params`",
    **dict.fromkeys(("attempts", "get_params", "inputs", "no_get", "passed", "timeout", "trigger"), _STEP),
}
GET: Mapping[str, str] = {
    **_PARAMS,
    "save": "set `format: oci`: it writes image.tar, which `docker load` reads",
    "rootfs": "it is written without being asked for: `format: rootfs` is the default",
    "unpack": "the root filesystem is written without being asked for: `format: rootfs` is the default",
    "version": _STEP,
    "platforms": "set `platform` to one, or `format: oci-layout` for all",
}
PUT: Mapping[str, str] = {
    **_PARAMS,
    **dict.fromkeys(("build", "context", "dockerfile", "docker_buildkit", "target", "target_name", "squash"), _BUILD),
    **dict.fromkeys(("build_args", "build_args_file", "labels", "labels_file", "secrets", "ssh_identity"), _BUILD),
    **dict.fromkeys(
        ("load", "load_base", "load_bases", "load_file", "load_repository", "load_tag", "load_images"), _LOAD
    ),
    **dict.fromkeys(("cache", "cache_from", "cache_tag", "cache_repo"), _CACHE),
    "import_file": "a root filesystem alone is no image: make one in a task, and set `image` to its path",
    "pull_repository": "`from` pushes an image of a registry, such as `from: registry.example/app:1.2`",
    "pull_tag": "`from` pushes an image of a registry, such as `from: registry.example/app:1.2`",
    "tag": "set `version`, or `tags`; a file of tags is `additional_tags`",
    "tag_file": "a file of tags is `additional_tags`; `load_var` reads a file for `version`",
    "tag_as_latest": "set `tags: [latest]`, or with `version` also `bump_aliases: true`",
    "destination": _ADDITIONAL,
    "destinations": _ADDITIONAL,
    "save": "a get writes image.tar, with `format: oci` in its params",
    "rootfs": "a get writes the root filesystem without being asked for",
    "image_file": "it is called `image`",
    "path": "the path of one image is `image`; of several, list each in `images`",
    "repository": "it belongs to source: another repository is another resource",
}


def advice(where: str, step: str, field: str) -> str:
    """What to write instead of ``field`` in ``where`` ("source" or "params") of a ``step``; "" if that is not known."""
    params = {"get": GET, "put": PUT}.get(step, {})
    table = {"source": SOURCE, "params": params}.get(where, {})
    return table.get(field.lower().replace("-", "_"), "")
