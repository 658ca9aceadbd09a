"""Runs a program in a terminal of a given size, types, resizes and signals as told, and says as JSON what the terminal showed."""
import base64, fcntl, json, os, pty, select, signal, struct, sys, termios, time

plan = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    time.sleep(0.2)  # until the size is set
    os.execvpe(plan["command"][0], plan["command"], {**os.environ, **plan["env"]})


def resize(columns, rows):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def mode():
    flags = termios.tcgetattr(terminal)[3]
    return [bool(flags & termios.ICANON), bool(flags & termios.ECHO), bool(flags & termios.ISIG)]


shown = b""
modes = []
ended = None


def hear(seconds):
    """Reads what is shown for a moment; false when nobody shows anything any more."""
    global shown
    if not select.select([terminal], [], [], seconds)[0]:
        return True
    try:
        chunk = os.read(terminal, 65536)
    except OSError:
        chunk = b""
    shown += chunk
    return chunk != b""


resize(plan["columns"], plan["rows"])
modes.append(mode())
for step in plan["steps"]:
    mark = len(shown)
    if "type" in step:
        os.write(terminal, step["type"].encode())
    if "resize" in step:
        resize(*step["resize"])
    if "signal" in step:
        os.kill(pid, getattr(signal, step["signal"]))
    if "damage" in step:
        with open(step["damage"], "w") as file:
            file.write("garbage")
    # So many whole pictures more.
    until = time.time() + 20
    while "pictures" in step and shown.count(b"\x1b[J", mark) < step["pictures"] and time.time() < until:
        if not hear(0.05):
            break
    modes.append(mode())
until = time.time() + 20
while time.time() < until:
    alive = hear(0.05)
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        ended = os.waitstatus_to_exitcode(status)
        modes.append(mode())
        while select.select([terminal], [], [], 0)[0] and hear(0):
            pass
        break
    if not alive:
        time.sleep(0.05)
if ended is None:
    os.kill(pid, signal.SIGKILL)
print(json.dumps({"shown": base64.b64encode(shown).decode(), "modes": modes, "ended": ended}))
