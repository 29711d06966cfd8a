"""Words for things that no generated room holds: negatives in training, and others for the test of "absent"."""

from collections.abc import Iterable


def _split(text: str) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(word.strip() for word in text.split(","))


TEST_FOREIGN = _split("""
bicycle, elephant, car, piano, toilet, guitar, banana, horse, airplane, mirror, dog, person, skateboard,
pizza, bathtub, tree, printer, shoe, motorcycle, sheep, hammer, surfboard, hair dryer, train, swimming pool,
wheelchair, violin, boat, toothbrush, sandwich
""")
"""Foreign words never used in training."""

TRAINING_FOREIGN = _split("""
cat, cow, pig, goat, chicken, lion, tiger, giraffe, zebra, monkey, rabbit, mouse animal, snake, frog, fish, shark,
whale, dolphin, eagle, owl, pigeon, parrot, penguin, butterfly, bee, spider, ant, turtle, crocodile, dinosaur,
camel, kangaroo, wolf, fox, deer, puppy, kitten, truck, bus, van, tractor, scooter, ambulance, fire truck, police
car, taxi, helicopter, rocket, ship, canoe, sailboat, submarine, tram, subway, wheel, tire, engine, steering wheel,
traffic light, stop sign, street sign, road, bridge, tunnel, fence, gate, mailbox, fountain, statue, tower, castle,
church, house, skyscraper, barn, tent, garage, roof, chimney, stairs, elevator, escalator, balcony, garden,
lawn, grass, forest, mountain, hill, river, lake, beach, ocean, desert, island, volcano, snow, rain, cloud, sun,
moon, star, sky, fire, smoke, ice, rock, stone, sand, mud, apple, orange fruit, pear, grape, strawberry, lemon,
pineapple, watermelon, cherry, peach, tomato, potato, carrot, onion, broccoli, cabbage, corn, mushroom, pepper,
cucumber, salad, bread, cake, cookie, donut, ice cream, chocolate, candy, cheese, egg, meat, steak, sausage, hot
dog, hamburger, french fries, soup, rice, noodles, pasta, sushi, milk, juice, beer, wine, coffee beans, honey,
butter, salt, sugar, fork, knife, spoon, plate, frying pan, cooking pot, kettle, teapot, toaster, blender, oven,
stove, dishwasher, dryer, sink, faucet, shower, soap, shampoo, towel, sponge, toilet paper,
toothpaste, comb, hairbrush, razor, perfume, lipstick, broom, mop, vacuum cleaner, iron, ironing board, clothes
hanger, coat rack, shirt, t-shirt, trousers, jeans, skirt, dress, jacket, coat, sweater, sock, glove, scarf, hat,
cap, helmet, belt, tie, boot, sandal, sneaker, slippers, watch, ring, necklace, earring, glasses, sunglasses,
handbag, purse, wallet, briefcase, phone, smartphone, telephone, tablet computer, camera, tripod, headphones,
loudspeaker, microphone, radio, remote control, game console, joystick, router, computer mouse, server rack,
scanner, projector, cable, power socket, light switch, battery, charger, flashlight, light bulb, thermostat, smoke
detector, air conditioner, fireplace, water heater, security camera, drum, trumpet, flute, saxophone, cello, harp,
accordion, tambourine, music stand, record player, tennis racket, tennis ball, baseball bat, golf club, hockey
stick, ski, snowboard, ice skates, roller skates, kite, frisbee, dumbbell, treadmill, exercise bike, yoga mat,
boxing gloves, bowling ball, dart board, pool table, ping pong table, chess board, playing cards, dice, jigsaw
puzzle, lego bricks, doll, toy car, toy train, robot, swing, slide, trampoline, balloon, rocking horse, stroller,
crib, high chair, baby bottle, screwdriver, wrench, pliers, saw, drill, nail, screw, axe, shovel, rake, wheelbarrow,
lawn mower, hose, watering can, paint roller, toolbox, workbench, rope, chain, padlock, key, coin, banknote, credit
card, envelope, stamp, newspaper, magazine, notebook, pencil, pen, eraser, ruler, scissors, stapler, glue,
calculator, globe, map, whiteboard, blackboard, flag, calendar, photo album, bandage, syringe, stethoscope,
thermometer, pill, crutch, hospital bed, microscope, telescope, test tube, cannon, sword, shield, crown, mask,
ghost, skeleton, angel, dragon, man, woman, child, baby, crowd, hand, face, foot, tooth, hair, feather, seashell,
bone, nest, spider web, bird cage, aquarium, dog bed, cat litter, dog leash, saddle, vending machine, cash register,
shopping cart, parking meter, fire hydrant, manhole, bus stop, billboard, conveyor belt, forklift, pallet, oil
barrel, pipe, valve, gas tank, solar panel, wind turbine, satellite dish, antenna, crane, bulldozer, excavator,
scaffolding, pallet jack, charging station, quadruped robot, drone, christmas tree, gift, wreath, rose, sunflower,
tulip, bouquet, palm tree, oak tree, leaf pile, pumpkin, wine glass, chopsticks, tray, jug, barrel, jar of jam,
lunch box, thermos, tin can, plastic bag, paper bag, birthday cake, popcorn, candle, keyboard, bowl, basketball, cactus,
washbasin, keyhole, bathrobe
""")
"""Foreign words for training."""


def foreign_to(words: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Drop the words that are, or end in, a phrase for something that the rooms do hold."""
    phrases = tuple(known)
    return tuple(dict.fromkeys(w for w in words if not any(w == p or w.endswith(" " + p) for p in phrases)))
