"""The sentences of training and, apart from them, those of the evaluation; `#` stands for a digit."""

from __future__ import annotations


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


PHRASES = _lines("""
    hello
    hello there
    hi
    good morning
    good evening
    good night
    goodbye
    bye
    thank you
    thanks a lot
    please
    yes
    no
    yeah
    okay
    sure
    maybe later
    i do not know
    i am not sure
    excuse me
    sorry
    wait a moment
    stop
    stop talking
    be quiet
    listen to me
    can you hear me
    are you there
    who are you
    what is your name
    my name is john
    how are you
    i am fine
    what can you do
    where are you from
    what day is it today
    how is the weather
    it is raining again
    the sun is shining
    open the door
    close the window
    turn on the light
    turn off the radio
    play some music
    make it louder
    call my mother
    send a message
    read it again
    say that again please
    repeat after me
    what did you say
    i did not understand
    that is wrong
    that is right
    very good
    well done
    come here
    go away
    sit down
    look at this
    where is the station
    i would like a cup of coffee
    a glass of water please
    the bread is on the table
    dinner is ready
    the children are playing in the garden
    my brother lives in london
    she works at the hospital
    we went to the sea last summer
    they have a big old house
    he is reading the newspaper
    the train is late again
    i lost my keys
    do you like fish
    this book is very interesting
    let us go home now
    see you tomorrow
    have a nice day
    happy birthday
    what are you doing
    i am working on it
    can we talk about this later
    she told me a long story
    nobody was at home
    the dog is sleeping under the table
    a cat is on the roof
    mother
    father
    sister
    apple
    water
    house
    money
    music
    paper
    window
    computer
    telephone
    umbrella
    breakfast
    yesterday
    tomorrow
    monday
    friday
    saturday
    january
    october
    red
    green
    blue
    yellow
    horse
    bird
    chicken
    river
    mountain
    really
    of course
    never mind
    no problem
    i think so
    oh my god
    hmm
    well
    and then
    so what
    you know what i mean
    testing testing
    is this thing on
    you said
    ready
    number
    numbers only please
    plus minus
    point
    hundred
    thousand
    million
""")
"""What people say that has no number, to each other or to a machine."""

ANNOUNCEMENTS = _lines("""
    my number is
    the number is
    the code is
    it is
    please dial
    please write down
    try
    the answer is
    okay
    hello
    and now
    room
    then
    i said
    repeat
    yes it is
    no it is
""")
"""What people say before a number that they spell out."""

COUNTED = _lines("""
    i have # brothers
    there are # people in the room
    she bought # apples and a melon
    we need # more chairs
    they waited for # hours
    it takes # minutes to get there
    he has # dogs and a cat
    give me # of those please
    only # of them came back
    the # of us went home
    i have been there # times
    it costs # dollars
    in # days we will know
    about # weeks ago it rained
    chapter # is about a king
    take line # to the airport
    the last # pages are missing
    my son is # years old
    wait # more seconds please
    # people called this morning
    # days later she was back
    # or more of them are broken
""")
"""Sentences in which a digit counts or names something; they end with another word."""

TIMES = _lines("""
    see you at #
    the train leaves at #
    i will be back by #
    she is turning #
    meet me at # tomorrow
    it is # o'clock
    half past #
    around # in the evening
    it opens at # and closes at #
    the meeting is from # to #
""")
"""Sentences about a time or an age, some of which end with a single digit."""

NUMBERS = _lines("""
    ten
    eleven
    twelve
    thirteen
    fourteen
    fifteen
    sixteen
    seventeen
    eighteen
    nineteen
    twenty
    thirty
    forty
    fifty
    sixty
    seventy
    eighty
    ninety
    twenty one
    thirty four
    fifty six
    seventy eight
    ninety nine
    first
    second
    third
    fourth
    fifth
    sixth
    seventh
    eighth
    ninth
""")
"""Numbers that are not said digit by digit, which it does not know."""

UNHEARD_PHRASES = _lines("""
    dog
    what time is it
    tell me a joke
    how old are you
    what is the capital of france
    i want to go to the cinema
    the quick brown fox jumps over the lazy dog
    my sister has a new car
    turn the heating down
    did you sleep well
    it was a long way home
    good afternoon
    where did you put the scissors
    banana
    elephant
    kitchen
    holiday
    purple
    autumn is cold
    please leave a message after the tone
    nice to meet you
    we are closing soon
    i cannot find my glasses
    is anybody there
    set an alarm
""")
"""What the evaluation's people say that has no number; training has none of them."""

UNHEARD_COUNTED = _lines("""
    there were # cars in front of the house
    she ate # sandwiches
    we have lived here for # years
    he called me # times yesterday
    only # tickets are left
    the shop is open until # on sundays
    # little birds sat in a tree
    it is # degrees outside
    my daughter is # months old
    add # spoons of sugar
""")
"""Sentences of the evaluation with a digit to leave alone; training has none of them."""
