"""The tables of words: which emoji are drawn, what they are called, and how people say it."""

SUBGROUPS = frozenset(
    word.strip()
    for word in """
animal-amphibian | animal-bird | animal-bug | animal-mammal | animal-marine | animal-reptile | arts-crafts |
award-medal | body-parts | book-paper | cat-face | clothing | computer | dishware | drink | event |
face-costume | face-glasses | face-hat | food-asian | food-fruit | food-marine | food-prepared | food-sweet |
food-vegetable | game | heart | hotel | household | light-video | lock | mail | medical | money | music |
musical-instrument | office | other-object | person | person-fantasy | person-role | person-sport | phone |
place-building | place-geographic | place-map | place-other | place-religious | plant-flower | plant-other |
science | sky-weather | sound | sport | time | tool | transport-air | transport-ground | transport-water |
writing
""".replace("\n", " ").split("|")
)
"""Emoji subgroups worth drawing."""

DROPPED = frozenset(
    word.strip()
    for word in """
sunset | cityscape | 1st place medal | 2nd place medal | 3rd place medal | abacus | adhesive bandage | admission tickets
| aerial tramway | airplane arrival | airplane departure | alembic | alien monster | amphora | anatomical heart | auto
rickshaw | baby bottle | badger | badminton | balance scale | ballet shoes | ballot box with ballot | banjo |
bank | bar chart | barber pole | basket | beach with umbrella | beans | beating heart | beetle | bell pepper |
bell with slash | bellhop bell | bento box | beverage box | bikini | biting lip | black nib | blouse | blue
book | boar | bone | bookmark | bookmark tabs | bowl with spoon | bridge at night | briefs | broom | brown
heart | bubbles | building construction | bullet train | bus stop | butter | calendar | camera with flash |
canned food | card file box | card index | card index dividers | carp streamer | carpentry saw | cat with
tears of joy | cat with wry smile | cd | chains | chart decreasing | chart increasing | chart increasing with
yen | chestnut | child | children crossing | chopsticks | cigarette | cityscape at dusk | clamp | clapper
board | clinking beer mugs | clinking glasses | clipboard | closed mailbox with lowered flag | closed mailbox
with raised flag | cloud with rain | cloud with snow | club suit | clutch bag | coat | cockroach | coffin |
computer disk | computer mouse | confetti ball | construction | control knobs | convenience store | cooked
rice | crayon | credit card | cricket | cricket game | crutch | crying cat | curling stone | curry rice |
custard | cyclone | dango | department store | derelict house | desert | diamond suit | dim button | disguised
face | diving mask | diya lamp | dna | dollar banknote | donkey | door | dotted line face | drop of blood |
dumpling | dvd | e-mail | ear | ear with hearing aid | electric plug | elevator | empty nest | envelope with
arrow | euro banknote | eye | eyes | factory | falafel | fax machine | field hockey | file cabinet | file
folder | film frames | film projector | firecracker | first quarter moon | first quarter moon face | fish cake
with swirl | fishing pole | flag in hole | flat shoe | flatbread | flexed biceps | flower playing cards | fly
| fog | foggy | folding hand fan | fondue | foot | fork and knife | fortune cookie | fountain pen | fuel pump
| funeral urn | garlic | ginger root | globe showing americas | globe showing asia-australia | globe with
meridians | goal net | goblin | goggles | green book | grey heart | grinning cat with smiling eyes | growing
heart | guide dog | hair pick | hammer and pick | hammer and wrench | hamsa | heart decoration | heart
exclamation | heart on fire | heart suit | heart with arrow | heart with ribbon | herb | hindu temple | hook |
horizontal traffic light | hot springs | hotel | hourglass not done | house with garden | houses | hut |
hyacinth | ice | identification card | inbox tray | incoming envelope | japanese dolls | japanese post office
| jar | joker | kaaba | karate uniform | keyboard | keycap | kissing cat | knot | lab coat | label | lacrosse
| last quarter moon | last quarter moon face | leaf fluttering in wind | leafy green | ledger | leg | lettuce
| level slider | light blue heart | light rail | link | linked paperclips | locked with key | locked with pen
| long drum | lotion bottle | loudspeaker | love hotel | love letter | low battery | lungs | magnifying glass
tilted right | mahjong red dragon | mango | mantelpiece clock | manual wheelchair | man’s shoe | map of japan
| martial arts uniform | mate | mechanical arm | mechanical leg | melon | memo | men wrestling | mending heart
| microbe | military medal | milky way | minibus | mirror | mobile phone with arrow | money with wings |
monorail | moon cake | moon viewing ceremony | moped | mosque | mosquito | motor boat | motor scooter |
motorized wheelchair | motorway | mountain cableway | mountain railway | mouse trap | mouth | musical notes |
musical score | muted speaker | mx claus | national park | nazar amulet | nesting dolls | new moon | new moon
face | newspaper | night with stars | nose | notebook | notebook with decorative cover | nut and bolt | oden |
oil drum | old key | older person | olive | oncoming automobile | oncoming bus | oncoming police car |
oncoming taxi | one-piece swimsuit | open file folder | open hands | open mailbox with lowered flag | open
mailbox with raised flag | optical disk | orange book | outbox tray | oyster | package | paella | page facing
up | page with curl | pager | paperclip | passenger ship | paw prints | pea pod | pen | person playing water
polo | person: beard | person: blond hair | petri dish | pick | pig nose | pinched fingers | pine decoration |
ping pong | placard | playground slide | plunger | police car light | pool 8 ball | post office | postal horn
| pot of food | potato | pound banknote | pouring liquid | pouting cat | prayer beads | printer | pushpin |
radio | railway car | railway track | razor | receipt | red envelope | red paper lantern | reminder ribbon |
revolving hearts | rice cracker | ring buoy | roasted sweet potato | rock | roll of paper | rolled-up
newspaper | rosette | round pushpin | rugby football | running shirt | safety pin | safety vest | sake | salt
| sari | satellite antenna | screwdriver | scroll | seal | seat | seedling | service dog | sewing needle |
shallow pan of food | shaved ice | sheaf of rice | shinto shrine | shopping bags | shorts | shower | siren |
skull and crossbones | sled | smiling cat with heart-eyes | snowman without snow | soap | softball | spade
suit | sparkler | sparkling heart | speaker high volume | speaker low volume | speaker medium volume |
speaking head | spiral calendar | spiral notepad | sponge | sport utility vehicle | squid | stadium | station
| stethoscope | stew | stop sign | stopwatch | straight ruler | stuffed flatbread | sun behind cloud | sun
behind large cloud | sun behind rain cloud | sun behind small cloud | sunrise | sunrise over mountains |
suspension railway | suv | synagogue | takeout box | tamale | tanabata tree | tear-off calendar | telephone
receiver | thermometer | thong sandal | thread | ticket | timer clock | tokyo tower | tongue | toolbox | tooth
| trackball | tram | tram car | triangular ruler | trolleybus | tumbler glass | turkey | two hearts | two hump
camel | two-hump camel | umbrella on ground | umbrella with rain drops | unlocked | vertical traffic light |
videocassette | volleyball | waning crescent moon | waning gibbous moon | water buffalo | water pistol |
waxing crescent moon | waxing gibbous moon | weary cat | wedding | wheel | white cane | white flower | white
heart | wilted flower | wind chime | wind face | window | wing | woman: beard | woman’s clothes | woman’s
sandal | women wrestling | wood | world map | worm | wrapped gift  | x-ray | yen banknote
""".replace("\n", " ").split("|")
)
"""Emoji that are obscure, near duplicates, or hard to recognise at 256 pixels."""

RENAMED = {
    "Japanese castle": "japanese castle",
    "T-Rex": "dinosaur",
    "american football": "football",
    "articulated lorry": "semi truck",
    "aubergine": "eggplant",
    "automobile": "car",
    "baguette bread": "baguette",
    "beer mug": "beer",
    "billed cap": "baseball cap",
    "blossom": "yellow flower",
    "bottle with popping cork": "champagne",
    "bowl with spoon": "bowl",
    "cheese wedge": "cheese",
    "classical building": "temple",
    "cocktail glass": "cocktail",
    "cooking": "fried egg",
    "couch and lamp": "couch",
    "cowboy hat face": "cowboy",
    "cup with straw": "soda cup",
    "cut of meat": "steak",
    "deciduous tree": "tree",
    "delivery truck": "truck",
    "desktop computer": "computer",
    "doughnut": "donut",
    "ear of corn": "corn",
    "evergreen tree": "pine tree",
    "face with monocle": "monocle face",
    "flying saucer": "ufo",
    "fork and knife with plate": "dinner plate",
    "framed picture": "painting frame",
    "front-facing baby chick": "baby chick",
    "gem stone": "diamond",
    "glass of milk": "milk",
    "globe showing Europe-Africa": "planet earth",
    "green salad": "salad",
    "grinning cat": "smiling cat",
    "hamburger": "burger",
    "hibiscus": "hibiscus flower",
    "high voltage": "lightning bolt",
    "high-heeled shoe": "high heels",
    "honeybee": "bee",
    "hot beverage": "coffee cup",
    "hourglass done": "hourglass",
    "ice cream": "ice cream sundae",
    "jack-o-lantern": "halloween pumpkin",
    "kick scooter": "scooter",
    "kitchen knife": "knife",
    "lady beetle": "ladybug",
    "leafy green": "lettuce",
    "locked": "padlock",
    "locomotive": "steam train",
    "mage": "wizard",
    "magnifying glass tilted left": "magnifying glass",
    "man: bald": "bald man",
    "man: beard": "bearded man",
    "man: blond hair": "blond man",
    "man: curly hair": "curly haired man",
    "man: red hair": "red haired man",
    "man: white hair": "white haired man",
    "man’s shoe": "leather shoe",
    "martial arts uniform": "karate uniform",
    "metro": "subway train",
    "moai": "moai statue",
    "mobile phone": "phone",
    "motor scooter": "moped",
    "musical keyboard": "piano",
    "optical disk": "cd",
    "partying face": "party face",
    "peanuts": "peanut",
    "performing arts": "theater masks",
    "person: blond hair": "blond person",
    "pile of poo": "poop",
    "police car light": "siren",
    "pot of food": "stew",
    "poultry leg": "chicken leg",
    "ringed planet": "planet saturn",
    "running shoe": "sneaker",
    "satellite antenna": "satellite dish",
    "sauropod": "brontosaurus",
    "sewing needle": "needle",
    "shallow pan of food": "paella",
    "small airplane": "propeller plane",
    "smiling face with sunglasses": "cool face",
    "snow-capped mountain": "snowy mountain",
    "soft ice cream": "ice cream cone",
    "sport utility vehicle": "suv",
    "spouting whale": "whale",
    "steaming bowl": "ramen",
    "studio microphone": "microphone stand",
    "teacup without handle": "tea cup",
    "water wave": "wave",
    "whale": "blue whale",
    "wine glass": "wine",
    "woman: bald": "bald woman",
    "woman: blond hair": "blond woman",
    "woman: curly hair": "curly haired woman",
    "woman: red hair": "red haired woman",
    "woman: white hair": "white haired woman",
    "woman’s boot": "boot",
    "woman’s clothes": "blouse",
    "woman’s hat": "sun hat",
    "wrapped gift": "gift box",
    "x-ray": "x ray",
}
"""Plain names for emoji whose official label nobody would type."""

ALIASES = {
    "airplane": ["plane", "jet", "aircraft"],
    "alien": ["extraterrestrial", "martian"],
    "baby chick": ["chick"],
    "bear": ["grizzly bear", "brown bear"],
    "bee": ["bumblebee", "honeybee"],
    "bicycle": ["bike"],
    "birthday cake": ["cake"],
    "black bird": ["crow", "raven"],
    "books": ["stack of books"],
    "boy": ["little boy", "young boy"],
    "burger": ["hamburger", "cheeseburger"],
    "car": ["automobile", "sedan", "vehicle"],
    "castle": ["fortress", "fairy tale castle"],
    "cat": ["kitten", "kitty", "feline"],
    "chicken": ["hen"],
    "christmas tree": ["xmas tree"],
    "clown face": ["clown"],
    "coffee cup": ["coffee", "cup of coffee", "mug", "espresso"],
    "computer": ["pc", "monitor"],
    "cook": ["chef"],
    "crocodile": ["alligator"],
    "crossed swords": ["swords", "sword"],
    "crown": ["king's crown"],
    "dagger": ["blade"],
    "diamond": ["gem", "jewel", "crystal"],
    "dinosaur": ["t rex", "tyrannosaurus"],
    "dog": ["puppy", "doggo"],
    "donut": ["doughnut"],
    "dragon": ["wyvern"],
    "eagle": ["hawk", "falcon"],
    "ewe": ["lamb", "sheep"],
    "fire": ["flame", "campfire", "bonfire"],
    "full moon": ["moon"],
    "ghost": ["spirit", "phantom"],
    "gift box": ["present", "gift"],
    "girl": ["little girl", "young girl"],
    "guard": ["soldier"],
    "guitar": ["electric guitar"],
    "halloween pumpkin": ["pumpkin", "jack o lantern"],
    "health worker": ["doctor", "nurse"],
    "house": ["home", "cottage", "cabin"],
    "ice cream cone": ["ice cream"],
    "laptop": ["notebook computer"],
    "lightning bolt": ["lightning", "thunderbolt"],
    "man": ["guy", "gentleman"],
    "mermaid": ["siren of the sea"],
    "motorcycle": ["motorbike"],
    "mushroom": ["toadstool", "fungus"],
    "ninja": ["samurai", "assassin"],
    "office building": ["skyscraper", "tower", "building"],
    "ogre": ["monster", "demon", "oni"],
    "open book": ["book"],
    "ox": ["bull"],
    "panda": ["giant panda"],
    "penguin": ["emperor penguin"],
    "phone": ["smartphone", "mobile phone", "cell phone"],
    "pine tree": ["fir tree", "conifer"],
    "planet earth": ["earth", "globe", "world"],
    "planet saturn": ["planet", "saturn"],
    "police officer": ["cop", "policeman"],
    "poop": ["turd"],
    "prince": ["king", "knight"],
    "princess": ["queen"],
    "rabbit": ["bunny", "hare"],
    "racing car": ["race car", "formula one car", "sports car"],
    "ram": ["sheep"],
    "ramen": ["noodles", "soup"],
    "red apple": ["apple"],
    "red heart": ["heart", "love"],
    "robot": ["android", "droid", "cyborg"],
    "rocket": ["spaceship", "rocket ship", "space shuttle"],
    "sailboat": ["boat", "yacht", "sailing boat"],
    "shield": ["knight's shield"],
    "ship": ["pirate ship", "cruise ship"],
    "skull": ["skeleton"],
    "snowy mountain": ["mountain peak"],
    "star": ["golden star"],
    "steam train": ["locomotive", "train engine"],
    "sun": ["sunshine"],
    "sunglasses": ["shades"],
    "superhero": ["hero"],
    "tea cup": ["tea", "cup of tea"],
    "teddy bear": ["plush bear", "stuffed toy"],
    "television": ["tv"],
    "tree": ["oak tree", "oak"],
    "troll": ["goblin"],
    "turtle": ["tortoise"],
    "ufo": ["flying saucer", "alien spaceship"],
    "vampire": ["dracula"],
    "video game": ["game controller", "gamepad"],
    "wave": ["ocean wave", "tsunami"],
    "whale": ["humpback whale"],
    "wizard": ["sorcerer", "mage", "magician", "witch", "sorceress"],
    "woman": ["lady"],
    "yellow flower": ["flower", "daisy"],
    "zombie": ["undead"],
}
"""Other words for a concept, by concept."""

UNCOUNTED = frozenset(
    word.strip()
    for word in """
bacon | ballet shoes | beans | beer | blueberries | books | bread | broccoli | bubbles | butter | champagne |
cheese | cherries | chopsticks | coffee | cooked rice | coral | curry rice | eyes | fire | fireworks | french
fries | garlic | ginger root | glasses | gloves | goggles | grapes | high heels | houses | jeans | lettuce |
maracas | men wrestling | milk | mount fuji | mrs. claus | paella | pancakes | planet earth | planet saturn |
popcorn | ramen | rice | sake | santa claus | scissors | shorts | skis | soap | socks | spaghetti | sparkles |
statue of liberty | stew | sunglasses | sushi | wine | women wrestling | wood | yarn
""".replace("\n", " ").split("|")
)
"""Names that take no article."""

IRREGULAR_PLURALS = {
    "bison": "bison",
    "cherry": "cherries",
    "deer": "deer",
    "elf": "elves",
    "fish": "fish",
    "goose": "geese",
    "knife": "knives",
    "leaf": "leaves",
    "man": "men",
    "moose": "moose",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "scarf": "scarves",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "squid": "squid",
    "wolf": "wolves",
    "woman": "women",
}
"""Plurals that no rule makes."""

COMMON = frozenset(
    word.strip()
    for word in """
airplane | alien | ambulance | artist | astronaut | avocado | baby | balloon | banana | basketball | bear |
bee | bicycle | birthday cake | bomb | book | books | boy | bubble tea | burger | bus | butterfly | cactus |
camera | car | carrot | castle | cat | cheese | cherries | chicken | christmas tree | cloud | clown face |
coffee cup | cook | cookie | corn | cow | crab | crocodile | crossed swords | crown | crystal ball | cupcake |
deer | detective | diamond | dinosaur | dog | dolphin | donut | dragon | drum | duck | eagle | egg | elephant
| elf | fairy | farmer | fire engine | firefighter | fish | flamingo | fox | frog | full moon | genie | ghost
| gift box | giraffe | girl | goat | green apple | guitar | halloween pumpkin | hamster | hedgehog |
helicopter | horse | hourglass | house | ice cream cone | key | kite | koala | ladybug | laptop | lemon |
light bulb | lion | lollipop | magic wand | man | mermaid | monkey | motorcycle | mouse |
mushroom | ninja | octopus | ogre | open book | otter | owl | palm tree | panda | parrot | penguin | phone |
piano | pig | pine tree | pineapple | pizza | planet earth | planet saturn | police car | police
officer | poop | prince | princess | rabbit | raccoon | racing car | rainbow | ramen | red apple | red heart |
robot | rocket | rose | sailboat | sandwich | santa claus | scientist | shark | shield | ship | singer | skull
| sloth | snail | snake | snowman | snowy mountain | soccer ball | spider | star | steam train | strawberry |
sun | sunflower | superhero | sushi | taco | taxi | teapot | teddy bear | television | tiger | tomato |
tractor | tree | trophy | truck | trumpet | tulip | turtle | ufo | umbrella | unicorn | vampire | volcano |
watermelon | whale | wizard | wolf | woman | zebra | zombie
""".replace("\n", " ").split("|")
)
"""What people ask for first: seen three times as often."""

EXTRA = frozenset({"skull"})
"""Emoji drawn although their subgroup is not."""
