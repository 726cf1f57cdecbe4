"""docker's commands (28.2), each with a call to make with the real client, in this order."""

from collections.abc import Mapping

VERSION = "28.2"

#: What only a cluster has.
SWARM = ("config", "node", "secret", "service", "stack", "swarm", "volume update")
#: Groups about something that this engine does not have, with what to say.
ABSENT: Mapping[str, str] = {
    "plugin": "no plugins; `plugin ls` is empty",
    "checkpoint": "no checkpoints",
    "trust": "of the client and a notary server; `wherry` has no signed names",
}
#: Groups that are the client's alone.
CLIENT_ONLY: Mapping[str, str] = {
    "context": "of the client; both commands read and write the same files",
    "manifest": "of docker's client and registries; the engine has no part in it",
}

#: Options for Windows containers, cluster volumes and signed names: not missed here.
ELSEWHERE = frozenset(
    {
        *("cluster", "cpu-count", "cpu-percent", "disable-content-trust"),
        *("io-maxbandwidth", "io-maxiops", "isolation"),
    }
)
#: Of `volume create`.
CLUSTER_VOLUMES = frozenset(
    {
        *("availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing"),
        *("topology-preferred", "topology-required", "type"),
    }
)

#: Words after "docker". {run}: a container that runs; {end}: one that has ended; {dir}: a folder to build
#: from; {registry}: a registry; {index}: one that can be searched. `attach` is ended by ending its container.
CALLS: Mapping[str, tuple[str, ...]] = {
    "version": ("version",),
    "info": ("info",),
    "ps": ("ps", "-a"),
    "images": ("images",),
    "run": ("run", "--rm", "busybox:test", "true"),
    "create": ("create", "--name", "made", "busybox:test", "sleep", "60"),
    "start": ("start", "made"),
    "exec": ("exec", "{run}", "true"),
    "attach": ("attach", "--no-stdin", "{run}"),
    "logs": ("logs", "{end}"),
    "top": ("top", "{run}"),
    "stats": ("stats", "--no-stream", "{run}"),
    "port": ("port", "{run}"),
    "diff": ("diff", "{end}"),
    "cp": ("cp", "{end}:/etc/passwd", "-"),
    "commit": ("commit", "{end}", "committed"),
    "export": ("export", "-o", "{dir}/export.tar", "{end}"),
    "import": ("import", "{dir}/export.tar", "imported"),
    "inspect": ("inspect", "{run}"),
    "pause": ("pause", "made"),
    "unpause": ("unpause", "made"),
    "update": ("update", "--pids-limit", "100", "made"),
    "rename": ("rename", "made", "renamed"),
    "restart": ("restart", "-t", "0", "renamed"),
    "kill": ("kill", "renamed"),
    "wait": ("wait", "renamed"),
    "stop": ("stop", "renamed"),
    "rm": ("rm", "renamed"),
    "events": ("events", "--since", "1", "--until", "2"),
    "build": ("build", "-q", "-t", "built", "{dir}"),
    "history": ("history", "built"),
    "tag": ("tag", "built", "{registry}/built"),
    "push": ("push", "-q", "{registry}/built"),
    "rmi": ("rmi", "{registry}/built"),
    "pull": ("pull", "-q", "{registry}/built"),
    "search": ("search", "{index}/built"),
    "login": ("login", "-u", "me", "-p", "x", "{registry}"),
    "logout": ("logout", "{registry}"),
    "save": ("save", "-o", "{dir}/save.tar", "built"),
    "load": ("load", "-q", "-i", "{dir}/save.tar"),
    "container attach": ("container", "attach", "--no-stdin", "{run}"),
    "container commit": ("container", "commit", "{end}"),
    "container cp": ("container", "cp", "{end}:/etc/passwd", "-"),
    "container create": ("container", "create", "--name", "made", "busybox:test", "sleep", "60"),
    "container start": ("container", "start", "made"),
    "container diff": ("container", "diff", "{end}"),
    "container exec": ("container", "exec", "{run}", "true"),
    "container export": ("container", "export", "-o", "{dir}/export.tar", "{end}"),
    "container inspect": ("container", "inspect", "{run}"),
    "container logs": ("container", "logs", "{end}"),
    "container ls": ("container", "ls"),
    "container pause": ("container", "pause", "made"),
    "container unpause": ("container", "unpause", "made"),
    "container port": ("container", "port", "{run}"),
    "container rename": ("container", "rename", "made", "renamed"),
    "container restart": ("container", "restart", "-t", "0", "renamed"),
    "container run": ("container", "run", "--rm", "busybox:test", "true"),
    "container stats": ("container", "stats", "--no-stream", "{run}"),
    "container top": ("container", "top", "{run}"),
    "container update": ("container", "update", "--pids-limit", "100", "renamed"),
    "container kill": ("container", "kill", "renamed"),
    "container wait": ("container", "wait", "renamed"),
    "container stop": ("container", "stop", "renamed"),
    "container rm": ("container", "rm", "renamed"),
    "container prune": ("container", "prune", "-f", "--filter", "label=none"),
    "image build": ("image", "build", "-q", "{dir}"),
    "image history": ("image", "history", "built"),
    "image import": ("image", "import", "{dir}/export.tar"),
    "image inspect": ("image", "inspect", "built"),
    "image load": ("image", "load", "-q", "-i", "{dir}/save.tar"),
    "image ls": ("image", "ls"),
    "image pull": ("image", "pull", "-q", "{registry}/built"),
    "image push": ("image", "push", "-q", "{registry}/built"),
    "image save": ("image", "save", "-o", "{dir}/save.tar", "built"),
    "image tag": ("image", "tag", "built", "again"),
    "image rm": ("image", "rm", "again"),
    "image prune": ("image", "prune", "-f", "--filter", "label=none"),
    "network create": ("network", "create", "net"),
    "network connect": ("network", "connect", "net", "{run}"),
    "network disconnect": ("network", "disconnect", "net", "{run}"),
    "network inspect": ("network", "inspect", "net"),
    "network ls": ("network", "ls"),
    "network rm": ("network", "rm", "net"),
    "network prune": ("network", "prune", "-f"),
    "volume create": ("volume", "create", "vol"),
    "volume inspect": ("volume", "inspect", "vol"),
    "volume ls": ("volume", "ls"),
    "volume rm": ("volume", "rm", "vol"),
    "volume prune": ("volume", "prune", "-f"),
    "builder build": ("builder", "build", "-q", "{dir}"),
    "builder prune": ("builder", "prune", "-f"),
    "system df": ("system", "df"),
    "system events": ("system", "events", "--since", "1", "--until", "2"),
    "system info": ("system", "info"),
    "system prune": ("system", "prune", "-f", "--filter", "until=24h"),
}

REMARKS: Mapping[str, str] = {
    "build": "with DOCKER_BUILDKIT=0, or without the buildx plugin",
    "search": "needs a registry with Docker's search",
}
