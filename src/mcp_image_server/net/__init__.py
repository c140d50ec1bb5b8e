"""The one door outward. An adapter describes its `Service` once and then sends, streams, listens, polls and downloads through a `Net`.

What goes wrong on the way comes back as our errors: which class, whether it may have been billed, what the service said, and what would help.
Nothing that a service says reaches a message before its secrets are taken out. The HTTP client is imported when the first call is made.

::

    net = Net(Service(provider="acme", title="Acme", base_url=config.base_url, headers={"X-Key": key}, secrets=(key,), read_fault=read_fault))
    task = (await net.send("POST", "tasks", json=to_wire(request, model))).parse(Task)
    done = await net.poll(lambda: ask(task.id))
    data = await net.download(done.url)
"""

from .door import File, Net, Pace, Timeouts
from .events import Event, Events
from .failures import words_in
from .reply import Reply
from .service import Fault, Service
from .sockets import Messages
from .tries import Tries

__all__ = ["Event", "Events", "Fault", "File", "Messages", "Net", "Pace", "Reply", "Service", "Timeouts", "Tries", "words_in"]
