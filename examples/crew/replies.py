"""What the scripted model answers to the agents of this example: a mystery that is written with every title."""

from __future__ import annotations

import json
import re

from examples.crew.model_server import Call, Reply

PLOT = """\
Lord Ashby is found dead in his chair, in the house that half of the county owes money to. Beside him stands a cup of \
milk, still full. Three people saw him on his last evening: Clara, his niece, who would inherit nothing but the roof; \
Nathaniel Pike, the innkeeper, whose lease ended in March; and Dr. Hale, who came every night to measure his drops.

The murderer is Dr. Hale. He had charge of the estate while the old man was ill, and sold it, field by field. On \
Friday Ashby meant to read the accounts. On Thursday the drops went into the milk."""

CLUES = """\
I asked where each of them was. Pike served thirty people, and Clara was seen at the window all evening. Dr. Hale says \
that he was in London, and his alibi does not hold: nobody saw him there.

What Quill can find: the cat of the house, who drinks anything, did not touch the milk. The bottle of drops is full, \
though it was opened a week ago. And in the grate lies half of a railway ticket, clipped on the evening when its owner \
says that he was away."""

DRAFT = """\
Murderer: Hale
Motive: He sold the estate that he was to guard, and the accounts were to be read on Friday.
Weapon: Morphine drops in a cup of milk.
Clue: The cat did not touch the milk.
Clue: The bottle of drops is full, though it was opened a week ago.
Clue: Half of a railway ticket in the grate.

1. Bell: Not one light in the whole house, Quill.
2. Clara: My uncle drank nothing that evening. He only asked for his cup.
3. Quill: Full to the brim. And your cat walks around it.
4. Pike: I had thirty guests that night. Ask any of them where I was.
5. Hale: I was in London, Miss Quill. I heard of it this morning.
6. Quill: And here is a railway ticket.
7. Hale: He would have read the accounts on Friday. All of them.
8. Quill: Take him to the trap, Bell. Slowly. He has no train to catch."""

NOTES = """\
Verdict: revise

The murderer is right, and so is the motive. But picture 6 shows the ticket, and nobody says what it proves. The \
reader should catch the lie there, one picture before the face. Let Quill say when it was clipped."""

REVISED = DRAFT.replace(
    "6. Quill: And here is a railway ticket.",
    "6. Quill: Clipped at Ashby Halt, Thursday, a quarter past nine. London is far from there.",
)

ANOTHER = """\
Murderer: Pike
Motive: His lease ended in March, and Ashby would not renew it.
Weapon: Rat poison from the cellar of the inn, in a cup of milk.
Clue: The cat did not touch the milk.
Clue: The tin in the cellar of the inn is empty.
Clue: Half of a railway ticket, which Dr. Hale had lost.

1. Bell: Not one light in the whole house, Quill.
2. Clara: My uncle drank nothing that evening. He only asked for his cup.
3. Quill: Full to the brim. And your cat walks around it.
4. Pike: I had thirty guests that night. Ask any of them where I was.
5. Hale: I was in London. I have lost my ticket, or I would show it to you.
6. Quill: Here it is, doctor. So thirty guests drank alone for half an hour.
7. Pike: Forty years of my life are in that inn. He wanted it for his dogs.
8. Quill: Somebody else will pour tonight, Bell. Bring him to the trap."""


def reply(call: Call) -> Reply:
    """Answer as the agent that asks."""
    if call.schema is not None:  # which of the outcomes an answer means
        return Reply(text=json.dumps({"outcome": _outcome(call)}), word_every=0.0)
    match role_of(call):
        case "plotter":
            return Reply(text=PLOT)
        case "investigator" if not call.tool_results:
            return Reply(tools=[("alibi_of", {"name": "Hale"})], first_after=0.4)
        case "investigator":
            return Reply(text=CLUES)
        case "editor":
            return Reply(text=NOTES)
        case _ if "is not the murderer" in call.text:
            return Reply(text=ANOTHER)
        case _ if "Verdict: revise" in call.text:
            return Reply(text=REVISED)
        case _:
            return Reply(text=DRAFT)


def role_of(call: Call) -> str:
    """Return which agent asks, in small letters."""
    found = re.search(r"You are (\w+)", call.text)
    return "" if found is None else found[1].lower()


def _outcome(call: Call) -> str:
    said = re.search(r"Feedback: *(\w+)", call.text)
    return "no" if said is not None and said[1].lower() == "no" else "yes"
