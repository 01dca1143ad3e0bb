"""Number the extension types of stored values. The numbers are on disk: never change the meaning of one.

===== ============ =========================================================
code  type         data
===== ============ =========================================================
1     job handle   the job id, UTF-8
2     tuple        array
3     named tuple  array of module, qualified name, items…
4     set          array, sorted by encoded bytes
5     frozenset    array, sorted by encoded bytes
6     dict         array of key, value, key, value… (see below)
7     bytearray    the bytes
8     big int      two's complement, big-endian
9     complex      two big-endian doubles
10    Decimal      ASCII
11    UUID         16 bytes
12    datetime     array of year … microsecond, fold, zone
13    date         array of year, month, day
14    time         array of hour … microsecond, fold, zone
15    timedelta    array of days, seconds, microseconds
16    path         flavour (``p`` ``w`` ``P`` ``W``), then the path, UTF-8 with surrogateescape
17    enum         array of module, qualified name, member name or nil, value
18    range        array of start, stop, step
19    record       array of module, qualified name, fields, and other state if any
===== ============ =========================================================

A zone is nil (naive), the offset from UTC in microseconds, or an array of a zone name and that offset (or nil).
A dict has this form if its keys are not plain, or if an annotation leaves open whether it is a record. A record's
fields are a map of those that its constructor takes; other state is a map, too. Earlier versions stored a record as the
map of its fields alone.
Lower-case path flavours are the concrete ones (``PosixPath``), upper-case the pure ones (``PurePosixPath``).
"""

from __future__ import annotations

HANDLE = 1
TUPLE = 2
NAMED_TUPLE = 3
SET = 4
FROZENSET = 5
DICT = 6
BYTEARRAY = 7
BIG_INT = 8
COMPLEX = 9
DECIMAL = 10
UUID_ = 11
DATETIME = 12
DATE = 13
TIME = 14
TIMEDELTA = 15
PATH = 16
ENUM = 17
RANGE = 18
RECORD = 19

MAX_DEPTH = 100
"""The deepest nesting of containers that a value may have."""

INT_MIN = -(2**63)
INT_MAX = 2**64 - 1
"""The range of msgpack's ints; any other is a big int."""
