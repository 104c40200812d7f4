"""What runs in the two sandboxes of one answer: the program in one, its tests in the other.

Called by path, with next to no imports, since they are most of what a short program costs. Arguments: seconds of processor
time, bytes of memory, threads, the role. `program` runs a program, and does what a line on stdin asks with a line on
stdout. `tests` runs the tests of one answer after the other (see `host`), each in a process of its own, which asks the program
by two descriptors; how they ended is its exit code. So no expected value is in the program's process, and what comes from there is read as values of Python's own types,
whose comparison no program can redefine. All other objects stay there, and are called by their number. What the tests hand
over is a copy: they do not see a list that the program has changed.
"""

import builtins
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader, BufferedWriter

EQUAL, DIFFERENT, LOST, NOT_STARTED = 40, 41, 42, 43  # exit codes of the tests; lost: the program's process has ended
LONGEST_LINE = 4 << 20  # bytes, of a program
SIMPLE = {  # name: type, to a word, from a word
    "none": (type(None), repr, lambda word: None),
    "bool": (bool, repr, "True".__eq__),
    "int": (int, int.__repr__, int),
    "float": (float, float.__repr__, float),
    "complex": (complex, complex.__repr__, complex),
    "str": (
        str, lambda text: "x" + text.encode("utf-8", "surrogatepass").hex(),
        lambda word: bytes.fromhex(word[1:]).decode("utf-8", "surrogatepass"),
    ),
    "bytes": (bytes, lambda value: "x" + value.hex(), lambda word: bytes.fromhex(word[1:])),
}
GROUPS = {"dict": dict, "list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def pack(value: object, number_of: "Callable[[object], int]" = id) -> str:
    """A value as words: a type's name and the value, or a group's name, its length, and what is in it."""
    for name, (kind, to_word, _) in SIMPLE.items():
        if isinstance(value, kind):
            return f"{name} {to_word(value)}"
    for name, kind in GROUPS.items():
        if isinstance(value, kind):
            parts = value.items() if kind is dict else value
            return " ".join([name, str(len(value)), *(pack(part, number_of) for part in parts)])
    return f"object {number_of(value)}"


def unpack(words: "Iterator[str]", object_of: "Callable[[int], object]" = int) -> object:
    """The value that `pack` made these words of. Raises an exception of any kind for what it cannot have made."""
    name, word = next(words), next(words)
    if name in SIMPLE:
        return SIMPLE[name][2](word)
    if name == "object":
        return object_of(int(word))
    return GROUPS[name]([unpack(words, object_of) for _ in range(int(word))])


class Link:
    """Lines to and from the other process; none is read that has more bytes than `longest`."""

    def __init__(self, source: "BufferedReader", sink: "BufferedWriter", longest: int = -1) -> None:
        self.source, self.sink, self.longest = source, sink, longest

    def send(self, words: str) -> None:
        self.sink.write(words.encode() + b"\n")
        self.sink.flush()

    def receive(self) -> "Iterator[str]":
        """Raises EOFError at the end, and where a line is too long."""
        line = self.source.readline(self.longest)
        if not line.endswith(b"\n"):
            raise EOFError
        return iter(line.decode().split())


def serve(link: Link) -> None:
    """Run the program, and do with it what the tests ask."""
    scope: dict[str, object] = {"__name__": "__main__"}
    objects: list[object] = []

    def number_of(value: object) -> int:
        objects.append(value)
        return len(objects) - 1

    actions = {
        "run": lambda program: exec(compile(program, "program", "exec"), scope),  # noqa: S102 - what the sandbox is for
        "name": scope.__getitem__,
        "attribute": getattr,
        "call": lambda function, arguments, named: function(*arguments, **named),
        "list": list,
    }
    link.send("ready")
    while True:
        action, *arguments = unpack(link.receive(), objects.__getitem__)
        try:
            reply = pack((actions[action](*arguments),), number_of)
        except Exception as error:  # noqa: BLE001 - the tests may wait for it
            kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
            reply = pack((kind.__name__, str(error)))
        link.send(reply)


class Program:
    """The program's process, as its tests see it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        try:
            link.receive()
        except EOFError:
            os._exit(NOT_STARTED)

    def ask(self, action: str, *arguments: object) -> object:
        """What the action gives, or raises. Tests that get nothing they can read end at once, whatever they would catch."""
        request = pack((action, *arguments), _number)
        try:
            self._link.send(request)
            reply = unpack(self._link.receive(), lambda number: Remote(self, number))
        except (EOFError, OSError):
            os._exit(LOST)
        except Exception:  # noqa: BLE001 - what a program may send to be read
            os._exit(DIFFERENT)
        match reply:
            case (value,):
                return value
            case (str(name), str(text)):
                kind = getattr(builtins, name, None)
                raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else Exception)(text)
        os._exit(DIFFERENT)


class Remote:
    """An object of the program. It is equal to itself alone, whatever it says of itself."""

    def __init__(self, program: Program, number: int) -> None:
        self._program, self._number = program, number

    def __call__(self, *arguments: object, **named: object) -> object:
        return self._program.ask("call", self, arguments, named)

    def __getattr__(self, name: str) -> object:
        return self._program.ask("attribute", self, name)

    def __iter__(self) -> "Iterator[object]":
        return iter(self._program.ask("list", self))


def _number(value: object) -> int:
    if not isinstance(value, Remote):
        raise TypeError(f"a {type(value).__name__} cannot be handed to the program")
    return value._number


class Names(dict):
    """What the tests' names mean: their own and Python's; then those of the question, but for the function that it asks
    for; then the program's."""

    def __init__(self, program: Program, question: str, entry: str) -> None:
        super().__init__(__name__="__main__")
        self._program, self._question, self._entry = program, question, entry
        self._given: dict[str, object] | None = None

    def __missing__(self, name: str) -> object:
        if hasattr(builtins, name):
            raise KeyError(name)
        if name != self._entry and name in self._of_question():
            return self._given[name]
        return self._program.ask("name", name)

    def _of_question(self) -> dict[str, object]:
        if self._given is None:
            self._given = {}
            try:
                exec(self._question if self._entry else "", self._given)  # noqa: S102
            except SyntaxError:  # prose about a function
                pass
        return self._given


def test(program: Program, task: dict[str, str]) -> None:
    program.ask("run", task["program"])
    names = Names(program, task["question"], task["entry"])
    exec(compile(task["tests"], "tests", "exec"), names)  # noqa: S102
    if "def check(" in task["tests"]:
        names["check"](names[task["entry"]])


def limit(cpu_seconds: str, memory_bytes: str, threads: str) -> None:
    """Limit this process, for good."""
    limits = {
        resource.RLIMIT_CPU: int(cpu_seconds), resource.RLIMIT_AS: int(memory_bytes), resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NPROC: int(threads), resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    sys.set_int_max_str_digits(0)  # the limit on time is enough


def host(control: int, rules: int) -> None:
    """For each message on a socket fork a process that runs tests, and send back its exit code as one byte.

    A message brings three descriptors: the task, and the program's two ends. `rules` has the system calls that fail in the
    forked process, as a program for the kernel (Linux's seccomp(2)); where it is empty there are none.
    """
    import _socket

    requests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, control)
    with open(rules, "rb") as file:
        forbid = prepared(file.read())
    while True:
        message, given, *_ = requests.recvmsg(1, _socket.CMSG_LEN(3 * 4))
        if not message:
            os._exit(0)
        descriptors = list(memoryview(given[0][2]).cast("i"))
        if not (child := os.fork()):
            requests.close()
            limit(*sys.argv[1:4])
            forbid()
            run_tests(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        requests.send(bytes([code if code >= 0 else 128 - code]))


def prepared(rules: bytes) -> "Callable[[], None]":
    """What has the kernel refuse the system calls of these rules to this process, for good."""
    if not rules:
        return lambda: None
    import ctypes

    class Rules(ctypes.Structure):  # struct sock_fprog of linux/filter.h
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    prctl, held = ctypes.CDLL(None).prctl, Rules(len(rules) // 8, rules)

    def forbid() -> None:
        if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(held), 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
            os._exit(NOT_STARTED)

    return forbid


def run_tests(task: int, source: int, sink: int) -> None:
    with open(task, "rb") as file:
        asked = unpack(iter(file.read().decode().split()))
    link = Link(open(source, "rb"), open(sink, "wb"), LONGEST_LINE)  # noqa: SIM115
    try:
        test(Program(link), asked)
    except BaseException:  # noqa: BLE001 - an exit is no pass
        os._exit(DIFFERENT)
    os._exit(EQUAL)


def main() -> None:
    if sys.argv[4] == "program":
        limit(*sys.argv[1:4])
        link = Link(open(os.dup(0), "rb"), open(os.dup(1), "wb"))  # noqa: SIM115
        for stream in (0, 1):
            os.dup2(2, stream)  # which is /dev/null: what the program reads and prints goes nowhere
        serve(link)
    host(*map(int, sys.argv[5:7]))


if __name__ == "__main__":
    main()
