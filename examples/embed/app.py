"""An application that is its own HRMR server: its functions beside modules from a folder.

    python app.py [MODULES]

MODULES is a folder of .so and .py modules, such as ../python. Ctrl-C ends it.
"""

import contextlib
import sys
import time

import hrmr

STARTED = time.monotonic()


def main() -> None:
    server = hrmr.Server(port=8080, modules=sys.argv[1:])

    @server.route("UPTIME")
    def uptime(_request: hrmr.Request) -> str:
        return f"{time.monotonic() - STARTED:.0f} s\n"

    @server.route("POST /upper")
    def upper(request: hrmr.Request) -> hrmr.Response:
        return hrmr.Response(request.text.upper())

    with server, contextlib.suppress(KeyboardInterrupt):
        print(f"try: printf 'UPTIME\\nCLOSE\\n' | nc 127.0.0.1 {server.port}")
        print(f"try: curl --data hello http://127.0.0.1:{server.port}/upper")
        server.wait()


if __name__ == "__main__":
    main()
