"""An example or two for each verb, shown by `--help` and on its man page. A test parses every one.

The key is the verb's shortest name: `wherry container ls` shows those of `ps`.
"""

from collections.abc import Mapping

#: verb -> (what it does, command), ...
EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "attach": (("join a container's streams; ctrl-p ctrl-q leaves it running", "wherry attach db"),),
    "build": (
        ("build the folder's Dockerfile and name the image", "wherry build -t app:1 ."),
        ("another Dockerfile, with a variable", "wherry build -f Dockerfile.test --build-arg DEBUG=1 ."),
    ),
    "builder prune": (("remove the build cache that nothing uses", "wherry builder prune -f"),),
    "commit": (("keep a container's changes as an image", 'wherry commit -m "with data" db db:filled'),),
    "completion": (("complete names in this bash from now on", "wherry completion bash"),),
    "container inspect": (("all about a container", "wherry container inspect db"),),
    "container prune": (("remove what has stopped", "wherry container prune -f"),),
    "context create": (
        ("an engine on another machine", "wherry context create far --docker host=ssh://me@far.example"),
    ),
    "context export": (("take a context, its keys too, elsewhere", "wherry context export far far.tar"),),
    "context import": (("and in there", "wherry context import far far.tar"),),
    "context inspect": (("where its engine listens", "wherry context inspect far"),),
    "context ls": (("all contexts", "wherry context ls"),),
    "context rm": (("forget one", "wherry context rm far"),),
    "context show": (("which engine do commands go to?", "wherry context show"),),
    "context update": (("its engine has moved", "wherry context update far --docker host=ssh://b.example"),),
    "context use": (
        ("all commands go to that engine from now on", "wherry context use far"),
        ("back to the machine", "wherry context use default"),
    ),
    "cp": (
        ("a file out of a container", "wherry cp db:/etc/my.cnf ."),
        ("a folder's contents into one", "wherry cp conf/. db:/etc/mysql"),
    ),
    "create": (("make a container, and start it later", "wherry create --name web -p 8080:80 nginx"),),
    "diff": (("what a container changed on its disk", "wherry diff db"),),
    "events": (("what ended in the last hour", "wherry events --since 1h --until 0s -f event=die"),),
    "exec": (
        ("a shell in a running container", "wherry exec -it db sh"),
        ("one command, as another user", "wherry exec -u www-data web id"),
    ),
    "export": (("a container's files as a tar", "wherry export -o db.tar db"),),
    "help": (("what --help of a verb prints", "wherry help network create"),),
    "history": (("the layers of an image, and what made them", "wherry history --no-trunc mysql:demo"),),
    "image inspect": (("an image's ports", "wherry image inspect -f '{{.Config.ExposedPorts}}' nginx"),),
    "image prune": (("remove images that no container uses", "wherry image prune -a"),),
    "images": (
        ("all images of a name", "wherry images mysql"),
        ("names and sizes only", "wherry images --format '{{.Repository}}:{{.Tag}} {{.Size}}'"),
    ),
    "import": (("a root file system becomes an image", "wherry import -c 'CMD [\"sh\"]' root.tar mine:1"),),
    "info": (("the engine's storage driver", "wherry info -f '{{.Driver}}'"),),
    "insert": (("add a file from the web", "wherry insert app:1 https://example.com/a.conf /etc/a.conf"),),
    "inspect": (
        ("all about anything", "wherry inspect db"),
        ("its address", "wherry inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' db"),
    ),
    "kill": (("have a server read its configuration again", "wherry kill -s HUP web"),),
    "load": (("images from an archive of `save`", "wherry load -i app.tar"),),
    "login": (("to a registry of your own", "wherry login -u me registry.example.com"),),
    "logout": (("forget a registry's password", "wherry logout registry.example.com"),),
    "logs": (
        ("follow what a container says", "wherry logs -f db"),
        ("the last lines, with times", "wherry logs --tail 20 -t db"),
    ),
    "machine init": (("make the virtual machine", "wherry machine init --cpus 4 --memory 4096"),),
    "machine inspect": (("all about it, its ports too", "wherry machine inspect"),),
    "machine list": (("all machines", "wherry machine list"),),
    "machine logs": (("what its kernel and services said", "wherry machine logs"),),
    "machine restart": (("stop and start", "wherry machine restart"),),
    "machine rm": (("remove it, and keep images and volumes", "wherry machine rm --keep-data"),),
    "machine set": (
        ("pull from a mirror of Docker Hub", "wherry machine set --registry-mirror https://mirror.example"),
        (
            "trust a company's registry",
            "wherry machine set --registry-ca registry.example:5000=company-ca.pem",
        ),
    ),
    "machine ssh": (("look around inside", "wherry machine ssh"),),
    "machine start": (("start it, made or stopped or saved", "wherry machine start"),),
    "machine status": (("is it on?", "wherry machine status"),),
    "machine stop": (("save it, to go on in a second", "wherry machine stop --save"),),
    "man": (("the manual of a verb", "wherry man run"), ("all pages", "wherry man --write man1")),
    "network connect": (("one more network, with a name there", "wherry network connect --alias db back a"),),
    "network create": (("a network whose containers know each other's names", "wherry network create back"),),
    "network disconnect": (("take a container off", "wherry network disconnect back db1"),),
    "network inspect": (("who is on it", "wherry network inspect back"),),
    "network ls": (("all networks", "wherry network ls"),),
    "network prune": (("remove those without containers", "wherry network prune -f"),),
    "network rm": (("remove one", "wherry network rm back"),),
    "pause": (("freeze all processes", "wherry pause db"),),
    "port": (("where a container's ports are on your machine", "wherry port web 80"),),
    "ps": (
        ("containers in any state", "wherry ps -a"),
        ("states of those of one image", "wherry ps -f ancestor=nginx --format '{{.Names}} {{.State}}'"),
    ),
    "pull": (("an image from a registry", "wherry pull debian:13"),),
    "push": (("an image to a registry of your own", "wherry push registry.example.com/app:1"),),
    "rename": (("give a container another name", "wherry rename db1 db"),),
    "restart": (("stop and start", "wherry restart -t 5 db"),),
    "rm": (("remove containers, running too, with their volumes", "wherry rm -fv db web"),),
    "rmi": (("remove an image", "wherry rmi app:1"),),
    "run": (
        ("a shell that is gone when you leave it", "wherry run -it --rm debian:13 bash"),
        ("a server, reached at port 8080", "wherry run -d --name web -p 8080:80 nginx"),
        ("data that stays when it is removed", "wherry run -d -v data:/var/lib/mysql mysql:demo"),
    ),
    "save": (("images into an archive", "wherry save -o app.tar app:1"),),
    "search": (("look for images", "wherry search --limit 5 mysql"),),
    "start": (("start again, and see what it says", "wherry start -a db"),),
    "stats": (
        ("what all containers use, as it changes", "wherry stats"),
        ("once, for a script", "wherry stats --no-stream --format '{{.Name}} {{.MemPerc}}'"),
    ),
    "stop": (("give it a minute to end", "wherry stop -t 60 db"),),
    "system audit": (("is everything on the disk whole, and owned?", "wherry system audit --verify"),),
    "system df": (("what takes the space", "wherry system df -v"),),
    "system prune": (("remove everything that nothing uses", "wherry system prune -a"),),
    "tag": (("a second name for an image", "wherry tag app:1 registry.example.com/app:1"),),
    "top": (("a container's processes", "wherry top db -o pid,rss,args"),),
    "unpause": (("let them go on", "wherry unpause db"),),
    "update": (("more memory for a running container", "wherry update -m 2g --memory-swap 2g db"),),
    "version": (("the client's version", "wherry version -f '{{.Client.Version}}'"),),
    "volume create": (("a volume", "wherry volume create data"),),
    "volume inspect": (("where it lies", "wherry volume inspect -f '{{.Mountpoint}}' data"),),
    "volume ls": (("those that no container uses", "wherry volume ls -f dangling=true"),),
    "volume prune": (("remove anonymous ones that nothing uses", "wherry volume prune -f"),),
    "volume rm": (("remove one for good", "wherry volume rm data"),),
    "wait": (("a container's exit status, when it has one", "wherry wait job"),),
}  # fmt: skip

#: Verbs of groups that are verbs of the root under another name.
_RENAMED = {"container ls": "ps", "image ls": "images", "image rm": "rmi"}


def of(path: str) -> tuple[tuple[str, str], ...]:
    """path: `wherry container run`, or any other way to a verb. Empty for groups."""
    words = path.split()[1:]
    name = " ".join(words)
    name = _RENAMED.get(name, name)
    return EXAMPLES.get(name, EXAMPLES.get(words[-1], ()) if words else ())
