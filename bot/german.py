"""What we say, in German: a table from the English of the code."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, str]] = {
    # Buttons, and what comes of them
    "Redraw": "Neu zeichnen",
    "Edit": "Ändern",
    "Vary": "Variieren",
    "Upscale": "Vergrößern",
    "Details": "Einzelheiten",
    "Delete": "Löschen",
    "Cancel": "Abbrechen",
    "No": "Nein",
    "Draw {count} pictures": "{count} Bilder zeichnen",
    "Cancelling. If it was just done, the pictures still come.": "Wird abgebrochen. War es gerade fertig, kommen die Bilder noch.",
    "Cancelled.": "Abgebrochen.",
    "It is too long to be shown here, and all of it is in this file.": (
        "Zum Zeigen ist es hier zu lang; in dieser Datei steht alles."
    ),
    "The recipe beside these pictures was too long for Discord and is cut off. Please type it again.": (
        "Das Rezept bei diesen Bildern war für Discord zu lang und ist abgeschnitten. Bitte gib es noch einmal ein."
    ),
    "I am already on it.": "Ich bin schon dabei.",
    "It is too late to cancel that: it is done.": "Zum Abbrechen ist es zu spät: Es ist fertig.",
    "Only who asked for it, or a moderator, can delete it.": "Löschen kann es nur, wer es bestellt hat, oder die Moderation.",
    "Only who asked for it, or a moderator, can cancel it.": "Abbrechen kann es nur, wer es bestellt hat, oder die Moderation.",
    "That picture is as large as I can make it.": "Größer kann ich dieses Bild nicht machen.",
    "That picture is as far from the first one as I can go. Redraw gives others like it.": (
        "Weiter weg vom ersten Bild komme ich nicht. Mit „Neu zeichnen“ bekommst du andere wie dieses."
    ),
    "There is no such picture.": "Dieses Bild gibt es nicht.",
    "I don't remember that picture any more. Please type it again.": (
        "An dieses Bild erinnere ich mich nicht mehr. Bitte gib es noch einmal ein."
    ),
    "The seeds, picture by picture: {seeds}": "Die Seeds, Bild für Bild: {seeds}",
    "not an interaction: {error}": "keine Interaktion: {error}",
    # How far a job is
    "next in line": "als Nächstes dran",
    "1 drawing ahead": "1 Zeichnung davor",
    "{ahead} drawings ahead": "{ahead} Zeichnungen davor",
    "waking a GPU": "eine GPU wird geweckt",
    "waking a GPU, usually about {seconds:.0f} s": "eine GPU wird geweckt, meist etwa {seconds:.0f} s",
    "step {index} of {total}": "Schritt {index} von {total}",
    "getting ready": "wird vorbereitet",
    "about {seconds:.0f} s": "etwa {seconds:.0f} s",
    "{seconds:.1f} s": "{seconds:.1f} s",
    # The settings under a picture
    "{steps} steps": "{steps} Schritte",
    "guidance {guidance:g}": "Guidance {guidance:g}",
    "seed {seed}": "Seed {seed}",
    "seeds {first} to {last}": "Seeds {first} bis {last}",
    "variation {seed} by {strength:g}": "Variation {seed} um {strength:g}",
    "{count} in a row": "{count} nacheinander",
    "from a picture, strength {strength:g}": "aus einem Bild, Stärke {strength:g}",
    "without {words}": "ohne {words}",
    # What was asked and cannot be drawn
    "“{word}” is not a setting. For example: --steps 20 --n 4": (
        "„{word}“ ist keine Einstellung. Zum Beispiel: --steps 20 --n 4"
    ),
    "Say what to draw, for example: /imagine a red fox in the snow": (
        "Sag, was ich zeichnen soll, zum Beispiel: /imagine a red fox in the snow"
    ),
    "{name} has {length} characters; I can read {limit}. Please shorten it.": (
        "{name} hat {length} Zeichen; lesen kann ich {limit}. Bitte kürze das."
    ),
    "{name} must be from {low} to {high:,}; you asked for {asked}.": (
        "{name} muss zwischen {low} und {high:,} liegen, nicht bei {asked}."
    ),
    "{name} must be from {low} to {high:,} for {model}; you asked for {asked}.": (
        "{name} muss bei {model} zwischen {low} und {high:,} liegen, nicht bei {asked}."
    ),
    "{name} must be a multiple of {multiple} for {model}: try {near}.": (
        "{name} muss bei {model} ein Vielfaches von {multiple} sein: versuch es mit {near}."
    ),
    "The command": "Der Befehl",
    "The prompt": "Der Prompt",
    "The negative prompt": "Der negative Prompt",
    "Steps": "Die Zahl der Schritte",
    "Guidance": "Die Guidance",
    "The number of pictures": "Die Zahl der Bilder",
    "The seed": "Der Seed",
    "The variation's seed": "Der Seed der Variation",
    "The variation's strength": "Die Stärke der Variation",
    "The strength": "Die Stärke",
    "The width": "Die Breite",
    "The height": "Die Höhe",
    "{model} cannot be told what to leave out: drop --no, and say what you want to see instead.": (
        "{model} kann man nicht sagen, was fehlen soll: lass --no weg und sag, was du stattdessen sehen willst."
    ),
    "--vary takes {limit} variations of one another, and no more.": "--vary nimmt {limit} Variationen voneinander, nicht mehr.",
    "--upscale is 1 or 2; you asked for {asked}.": "--upscale ist 1 oder 2, nicht {asked}.",
    "That is too large to upscale for {model}: leave --size at {width}x{height} or less.": (
        "Das ist zum Vergrößern mit {model} zu groß: bleib mit --size bei {width}x{height} oder weniger."
    ),
    "There is no model “{name}” here. There is: {models}.": "Ein Modell „{name}“ gibt es hier nicht. Es gibt: {models}.",
    "There is no style “{name}”. There is: {styles}.": "Einen Stil „{name}“ gibt es nicht. Es gibt: {styles}.",
    "That is not the name of a picture: attach the picture instead.": (
        "Das ist kein Name eines Bildes: häng das Bild stattdessen an."
    ),
    "--strength says how far to go from a picture: attach one, or drop it.": (
        "--strength sagt, wie weit es sich von einem Bild entfernen soll: häng eines an, oder lass es weg."
    ),
    "That shape is too long for {model}: try one between 1:{widest:.3g} and {widest:.3g}:1.": (
        "Diese Form ist für {model} zu lang: versuch eine zwischen 1:{widest:.3g} und {widest:.3g}:1."
    ),
    "Give either --ar or --size, not both.": "Gib entweder --ar oder --size an, nicht beides.",
    "--{name} needs a value. For example: --{name} {example}": "--{name} braucht einen Wert. Zum Beispiel: --{name} {example}",
    "--{name} does not understand “{value}”. For example: --{name} {example}": (
        "--{name} versteht „{value}“ nicht. Zum Beispiel: --{name} {example}"
    ),
    "I don't know --{typed}. Did you mean --{meant}?": "--{typed} kenne ich nicht. Meintest du --{meant}?",
    "I don't know --{typed}. There are: {flags}.": "--{typed} kenne ich nicht. Es gibt: {flags}.",
    "Did you mean /imagine settings? To draw “{word}”, put it between quotes.": (
        "Meintest du /imagine settings? Wenn ich „{word}“ zeichnen soll, setz es in Anführungszeichen."
    ),
    "After “settings” I read flags such as --n 4 --style oil, or reset, and not “{word}”. "
    "To draw these words, put them between quotes.": (
        "Nach „settings“ lese ich Flags wie --n 4 --style oil, oder reset, und nicht „{word}“. "
        "Wenn ich diese Wörter zeichnen soll, setz sie in Anführungszeichen."
    ),
    "--{name} is not remembered; these are: {flags}.": "--{name} wird nicht gemerkt, nur diese: {flags}.",
    "--repeat is from 1 to {limit}.": "--repeat geht von 1 bis {limit}.",
    "That makes {count} different pictures. Choose one.": "Das sind {count} verschiedene Bilder. Wähl eines aus.",
    "That makes {count} pictures, and {limit} fit one message: try {flags}.": (
        "Das sind {count} Bilder, und {limit} passen in eine Nachricht: versuch es mit {flags}."
    ),
    "That makes {count} pictures, and {limit} fit one message.": "Das sind {count} Bilder, und {limit} passen in eine Nachricht.",
    "“{flag}” cannot stand within {{…}}: flags go before or after the words.": (
        "„{flag}“ kann nicht in {{…}} stehen: Flags stehen vor oder nach den Wörtern."
    ),
    "There is no list “{missing}” here. There is: {lists}. A backslash keeps the words: \\__{missing}__": (
        "Eine Liste „{missing}“ gibt es hier nicht. Es gibt: {lists}. Ein Backslash lässt die Wörter stehen: \\__{missing}__"
    ),
    "That is more than {limit} braces within one another. A backslash keeps a brace as it is: \\{{": (
        "Das sind mehr als {limit} Klammern ineinander. Ein Backslash lässt eine Klammer, wie sie ist: \\{{"
    ),
    "That is too many choices in {{…}}: {limit} pictures fit one message.": (
        "Das ist zu viel Auswahl in {{…}}: {limit} Bilder passen in eine Nachricht."
    ),
    "That picture is too large: {limit} MB is the most.": "Dieses Bild ist zu groß: {limit} MB sind das Höchste.",
    "That picture is too large: {limit} megapixels is the most.": "Dieses Bild ist zu groß: {limit} Megapixel sind das Höchste.",
    "That is not a picture that I can read. PNG, JPEG, WebP and GIF work.": (
        "Das ist kein Bild, das ich lesen kann. PNG, JPEG, WebP und GIF gehen."
    ),
    "The picture to start from is not here any more. Please attach it again.": (
        "Das Bild, von dem es ausgehen soll, ist nicht mehr da. Bitte häng es noch einmal an."
    ),
    # What went wrong
    "That took too long, and I cannot tell whether it was done. Please look before you try again.": (
        "Das hat zu lange gedauert, und ich weiß nicht, ob es geschehen ist. Bitte sieh nach, bevor du es noch einmal versuchst."
    ),
    "I could not take that just now. Please try again in a moment.": (
        "Das konnte ich gerade nicht annehmen. Bitte versuch es gleich noch einmal."
    ),
    "That is more than this machine's memory holds. Please try it smaller: --size makes it so.": (
        "Das ist mehr, als der Speicher dieser Maschine fasst. Bitte versuch es kleiner, mit --size."
    ),
    "The model lost its way with that, and made no picture. Please try another seed, or less guidance.": (
        "Dabei hat sich das Modell verrechnet, und es kam kein Bild heraus. Bitte versuch es mit --seed oder weniger --guidance."
    ),
    "The weights of {model} are not on this machine. Whoever runs this bot can fetch them.": (
        "Die Gewichte von {model} sind nicht auf dieser Maschine. Wer den Bot betreibt, kann sie holen."
    ),
    "Something went wrong on my side, and it is in my log as job {id}. Please try again in a minute.": (
        "Bei mir ist etwas schiefgegangen; es steht als Auftrag {id} in meinem Protokoll. Bitte versuch es in einer Minute noch einmal."
    ),
    "I tried {attempts} times and something broke each time. Please try it smaller, or with fewer steps.": (
        "Ich habe es {attempts}-mal versucht, und jedes Mal ging etwas kaputt. Bitte versuch es kleiner oder mit weniger Schritten."
    ),
    "The GPU broke off in the middle, twice. Please try again in a minute, or ask for less at a time.": (
        "Die GPU ist zweimal mittendrin ausgefallen. Bitte versuch es in einer Minute noch einmal, oder mit weniger auf einmal."
    ),
    "That took more than {minutes} minutes, so I stopped it. Please try it smaller, or with fewer steps.": (
        "Das hat mehr als {minutes} Minuten gedauert, darum habe ich es angehalten. Bitte versuch es kleiner oder mit weniger Schritten."
    ),
    # Settings that are remembered
    "What I add to your commands: {flags}": "Was ich zu deinen Befehlen hinzufüge: {flags}",
    "I add nothing to your commands.": "Ich füge zu deinen Befehlen nichts hinzu.",
    "What I cannot add any more, and leave out: {flags}": "Was ich nicht mehr hinzufügen kann und weglasse: {flags}",
    "Change it with /imagine settings --n 4 --style oil, or forget it with /imagine settings reset. It holds {kept}.": (
        "Ändern: /imagine settings --n 4 --style oil. Vergessen: /imagine settings reset. Merken kann ich {kept}."
    ),
    # Help
    "Type what you want to see:": "Schreib, was du sehen willst:",
    "Add what you like:": "Und dazu, was du magst:",
    "Remember what you always want: /imagine settings --n 4": "Merken, was du immer willst: /imagine settings --n 4",
    "Styles: {styles}": "Stile: {styles}",
    "Lists: {lists}": "Listen: {lists}",
    "Models:": "Modelle:",
    " (used unless you choose)": " (wenn du keines nennst)",
    "Limits: {least} to {most} pixels a side, {steps} steps, {pictures} pictures.": (
        "Grenzen: {least} bis {most} Pixel je Seite, {steps} Schritte, {pictures} Bilder."
    ),
    "the shape, width to height": "die Form, Breite zu Höhe",
    "the size in pixels": "die Größe in Pixeln",
    "how many pictures": "wie viele Bilder",
    "the same seed gives the same picture (0 to 4294967295)": "derselbe Seed gibt dasselbe Bild (0 bis 4294967295)",
    "what to leave out": "was fehlen soll",
    "more steps, more care, more time": "mehr Schritte, mehr Sorgfalt, mehr Zeit",
    "how closely to follow the words": "wie genau es den Worten folgt",
    "which model draws": "welches Modell zeichnet",
    "how it looks": "wie es aussieht",
    "all of it so many times, each with a new seed": "alles so oft, jedes Mal mit neuem Seed",
    "twice as wide and high, with finer detail": "doppelt so breit und hoch, mit feineren Einzelheiten",
    "how far to go from a picture that you attach": "wie weit weg von einem Bild, das du anhängst",
    "this text": "dieser Text",
    # Styles
    "soft 3D render": "weiche 3D-Grafik",
    "flat cartoon": "flacher Cartoon",
    "pixel art": "Pixelkunst",
    "oil painting": "Ölgemälde",
    "watercolor": "Aquarell",
    "pencil sketch": "Bleistiftskizze",
    "black and white": "schwarz-weiß",
    "neon glow": "Neonlicht",
    "vintage": "wie früher",
    "photograph; not for the embedded model": "Fotografie; nicht für das eingebaute Modell",
    "anime; not for the embedded model": "Anime; nicht für das eingebaute Modell",
    # Models
    "small, drawn on any CPU, comes with the package": "klein, zeichnet auf jeder CPU, liegt dem Paket bei",
    "Stable Diffusion 1.5: old, quick, knows many styles": "Stable Diffusion 1.5: alt, schnell, kennt viele Stile",
    "Stable Diffusion XL: an all-rounder with guidance": "Stable Diffusion XL: vielseitig, mit Guidance",
    "SDXL distilled to four steps: a picture at once, 512 pixels": "SDXL in vier Schritten: ein Bild sofort, 512 Pixel",
    "Stable Diffusion 3.5 Medium: follows long prompts": "Stable Diffusion 3.5 Medium: folgt langen Prompts",
    "FLUX.1 schnell: sharp pictures and lettering in four steps": (
        "FLUX.1 schnell: scharfe Bilder und Schrift in vier Schritten"
    ),
    "FLUX.1 dev: finer than schnell, slower, not for commercial use": (
        "FLUX.1 dev: feiner als schnell, langsamer, nicht für gewerbliche Nutzung"
    ),
    "Z-Image-Turbo: sharp, quick, follows long prompts, free to use": (
        "Z-Image-Turbo: scharf, schnell, folgt langen Prompts, frei nutzbar"
    ),
    # Discord: what commands and forms are called, and what is said at once
    "Drawing · {how}": "Ich zeichne · {how}",
    "Not finished: {prompt}": "Noch nicht fertig: {prompt}",
    "It is below.": "Es steht weiter unten.",
    "It is drawn, but I could not post it. An admin can fetch it: imagine show {id}": (
        "Es ist gezeichnet, aber ich konnte es nicht zeigen. Wer mich betreibt, kann es holen: imagine show {id}"
    ),
    "That button is of another version of me. Please type your command again.": (
        "Dieser Knopf ist aus einer anderen Version von mir. Bitte gib den Befehl noch einmal ein."
    ),
    "That command is of another version of me. An admin can put that right with: imagine register": (
        "Dieser Befehl ist aus einer anderen Version von mir. Wer mich betreibt, bringt das in Ordnung: imagine register"
    ),
    "Nothing is drawn.": "Es wird nichts gezeichnet.",
    "Deleted.": "Gelöscht.",
    "Draw a picture": "Ein Bild zeichnen",
    "Correct it": "Verbessern",
    "I don't have that any more. Please type it again.": "Das habe ich nicht mehr. Bitte gib es noch einmal ein.",
    # Slack
    "done, posting": "fertig, wird verschickt",
    "I sent it to you directly.": "Ich habe es dir direkt geschickt.",
    "Slack did not let me delete all of it. An admin of the workspace can.": (
        "Slack ließ mich nicht alles löschen. Ein Admin des Workspace kann es."
    ),
    "I could not post it here.": "Hier konnte ich es nicht zeigen.",
    "Your picture is drawn, but I could not post it. An admin can fetch it: `imagine show {id}`.": (
        "Dein Bild ist gezeichnet, aber ich konnte es nicht zeigen. Wer den Bot betreibt, kann es holen: `imagine show {id}`."
    ),
    "I am not in this channel. Invite me with `/invite`, and I can post pictures here.": (
        "Ich bin nicht in diesem Channel. Lade mich mit `/invite` ein, dann kann ich hier Bilder zeigen."
    ),
    "I lack the permission {detail}. An admin can add it under OAuth & Permissions, then reinstall the app.": (
        "Mir fehlt die Berechtigung {detail}. Ein Admin kann sie unter OAuth & Permissions hinzufügen und die App neu installieren."
    ),
    "I am no longer installed in this workspace. An admin of it can install me again.": (
        "In diesem Workspace bin ich nicht mehr installiert. Seine Admins können mich wieder installieren."
    ),
    "I am not installed in this workspace. An admin of it can install me: {url}": (
        "In diesem Workspace bin ich nicht installiert. Seine Admins können mich installieren: {url}"
    ),
    "imagine is installed in {team}.": "imagine ist in {team} installiert.",
    "Type this in any channel:": "Gib das in irgendeinem Kanal ein:",
    "Nothing was installed.": "Es wurde nichts installiert.",
    "Start again": "Von vorn anfangen",
    "That link has expired, or was begun in another browser. Please start again from here.": (
        "Dieser Link ist abgelaufen, oder ein anderer Browser hat damit angefangen. Bitte fang hier neu an."
    ),
    "That permission was used before, or has expired. Please start again.": (
        "Diese Erlaubnis wurde schon benutzt oder ist abgelaufen. Bitte fang von vorn an."
    ),
    "Slack does not answer just now. Please start again in a minute.": (
        "Slack antwortet gerade nicht. Bitte fang in einer Minute von vorn an."
    ),
    "Something went wrong on my side, and it is in my log. Please start again in a minute.": (
        "Bei mir ist etwas schiefgegangen; es steht in meinem Protokoll. Bitte fang in einer Minute von vorn an."
    ),
    "Slack does not know this bot's app. Whoever runs it has to check SLACK_CLIENT_ID and SLACK_CLIENT_SECRET.": (
        "Slack kennt die App dieses Bots nicht. Wer ihn betreibt, muss SLACK_CLIENT_ID und SLACK_CLIENT_SECRET prüfen."
    ),
    "The tokens of this bot's app expire, which I cannot use. Whoever runs it has to make the app anew from its manifest, "
    "which leaves token rotation off.": (
        "Die Tokens der App dieses Bots laufen ab, und damit kann ich nichts anfangen. Wer ihn betreibt, muss die App aus ihrem "
        "Manifest neu anlegen, in dem Token Rotation ausgeschaltet ist."
    ),
    "You have not allowed it, so nothing has changed. If that was not meant, please start again.": (
        "Du hast es nicht erlaubt, also ist alles wie vorher. War das ein Versehen, fang bitte von vorn an."
    ),
    "Slack did not allow it. Please start again, or ask whoever looks after your workspace.": (
        "Slack hat es nicht erlaubt. Bitte fang von vorn an, oder frag, wer euren Workspace betreut."
    ),
    "That channel is archived.": "Dieser Channel ist archiviert.",
    "That picture lies on another site. Please upload it to Slack.": (
        "Dieses Bild liegt auf einer anderen Seite. Bitte lade es in Slack hoch."
    ),
    "Slack does not show me that picture. Invite me to its channel, or attach it anew.": (
        "Slack zeigt mir dieses Bild nicht. Lade mich in seinen Channel ein, oder häng es neu an."
    ),
    "This makes {count} pictures.": "Das werden {count} Bilder.",
    "The message and its pictures will be gone for everybody.": "Die Nachricht und ihre Bilder sind dann für alle weg.",
    "Keep": "Behalten",
    "The form did not open in time. Please try again.": (
        "Das Formular ging nicht rechtzeitig auf. Bitte versuch es noch einmal."
    ),
    "Imagine": "Imagine",
    "Draw": "Zeichnen",
    "Close": "Schließen",
    "Back": "Zurück",
    "What you want to see": "Was du sehen willst",
    "What to leave out": "Was fehlen soll",
    "Model": "Modell",
    "Style": "Stil",
    "Settings": "Einstellungen",
    "For example --size 320x224 --steps 20 --guidance 2 --seed 7 --n 4": (
        "Zum Beispiel --size 320x224 --steps 20 --guidance 2 --seed 7 --n 4"
    ),
    "no style": "kein Stil",
    "Imagine this": "Zeichne das",
    "Draw a picture of what you type": "Zeichnet ein Bild von dem, was du eingibst",
    "What you want to see; flags such as --ar 3:2 work here too": "Was du sehen willst; auch --ar 3:2 und so weiter geht hier",
    "Fill in a form to draw a picture": "Ein Formular ausfüllen, um ein Bild zu zeichnen",
    "a picture to start from": "ein Bild, von dem ich ausgehe",
    "What I add to all your commands: show it, or change it": ("Was ich all deinen Befehlen hinzufüge: ansehen oder ändern"),
    "forget all of it first": "erst alles vergessen",
    "How this works, with examples": "Wie das geht, mit Beispielen",
    "Shape, width to height": "Form, Breite zu Höhe",
    "as the model likes it": "wie es das Modell mag",
    "How many pictures": "Wie viele Bilder",
    "Guidance: how closely to follow the words": "Guidance: wie genau es den Worten folgt",
    "Seed: the same one gives the same picture": "Seed: derselbe gibt dasselbe Bild",
    "Size": "Größe",
    "Twice as wide and high": "Doppelt so breit und hoch",
    "Picture": "Bild",
    "Where to post it": "Wohin damit",
    "Start from that picture": "Von diesem Bild ausgehen",
    "Start from a picture of yours": "Von einem eigenen Bild ausgehen",
    "Strength: how far to go from that picture": "Stärke: wie weit weg von diesem Bild",
    "From {least} to 1; usually {usual}.": "Von {least} bis 1; meist {usual}.",
    # The chat page
    "What shall I draw?": "Was soll ich zeichnen?",
    "Say it in a few words, and a picture comes back. The commands are those of Slack and Discord.": (
        "Sag es in ein paar Worten, und ein Bild kommt zurück. Die Befehle sind die von Slack und Discord."
    ),
    "This page needs JavaScript.": "Diese Seite braucht JavaScript.",
    "what to draw": "was ich zeichnen soll",
    "Enter sends, ↑ brings back earlier commands, --help explains": "Enter schickt ab, ↑ holt frühere Befehle, --help erklärt",
    "Clear": "Leeren",
    "Clear all commands and pictures from this page?": "Alle Befehle und Bilder von dieser Seite nehmen?",
    "I cannot reach the bot. Trying again…": "Ich erreiche den Bot nicht. Neuer Versuch…",
    "I still cannot reach the bot.": "Ich erreiche den Bot immer noch nicht.",
    "Try again": "Noch einmal versuchen",
    "That is more than I can read. Please say it in fewer words.": (
        "Das ist mehr, als ich lesen kann. Bitte sag es in weniger Worten."
    ),
    "That is too large for me. Please try it smaller.": "Das ist mir zu groß. Bitte versuch es kleiner.",
    "Drawing": "Ich zeichne",
    "one moment…": "einen Moment…",
    "reconnecting…": "verbinde neu…",
    "here it is": "da ist es",
    "Here it is: {prompt}": "Da ist es: {prompt}",
    "{prompt}, picture {number} of {count}": "{prompt}, Bild {number} von {count}",
    "There is no such drawing here any more.": "Diese Zeichnung gibt es hier nicht mehr.",
    "That drawing has ended, and not on this page.": "Diese Zeichnung ist zu Ende, aber nicht auf dieser Seite.",
    "Open in full size": "In voller Größe öffnen",
    "Download": "Herunterladen",
    "Copy": "Kopieren",
    "Copied": "Kopiert",
    "Selected": "Markiert",
    "Delete this and its pictures for good?": "Das und seine Bilder endgültig löschen?",
    "Attach": "Anhängen",
    "Attaching…": "Wird angehängt…",
    "Start from this picture": "Von diesem Bild ausgehen",
    "the picture it starts from": "das Bild, von dem es ausgeht",
    "Remove": "Entfernen",
    "I cannot reach the bot. Please attach it again.": "Ich erreiche den Bot nicht. Bitte häng es noch einmal an.",
    "a new one": "ein neuer",
}
