"""The words that the emulated model says. Nothing depends on which they are, only that they are
lower-case and distinct: each is one token together with the space before it.
"""

from typing import Final

_TEXT: Final = """
a able about above across after again all almost along already also always among an and another any
answer around as ask at back balance base be because become been before begin behind being below
best better between both bound bring build but by call can carry case cause certain change check
choose clear close come common compare complete condition consider constant contain correct cost
could count course cover cross cube current cut data day decide deep define degree depend did
difference digit direct divide do does done double down draw each early edge effect eight either
element else end enough equal error even ever every exact example expect fact factor fall false far
few field figure final find first fit five fix follow for force form formula found four fraction
from full function further gain general get give given go good great greater group grow guess half
hand happen hard has have he here high hold how however idea if imply important in include indeed
inside instead integer into is it item join just keep key kind know large last later law lead learn
least leave left length less let level limit line list little long look lower made main make many
map match matter may mean measure method middle might minus more most move much multiply must name
near need never new next nine no none nor not note nothing notice now number odd of off often on
once one only open or order other our out over own pair part pass past path pattern per perhaps
place plan point possible power present prime problem product proof property prove put quarter
question quick quite range rate rather reach read real reason recall remain remember repeat rest
result return right root rule run same say second see seem sequence set seven several shall shape
short should show side sign simple since single six size small so solve some space square start
state step still stop structure subtract such suggest suit sum suppose sure system take ten term
test than that the their them then there therefore these they thing think third this those though
three through thus time to together too top total toward tree true try turn twice two type under
unit until up upper us use usual value variable verify very wait want was way we well were what when
where whether which while whole why will with within without word work would write wrong yes yet
zero
"""
WORDS: Final = tuple(_TEXT.split())
