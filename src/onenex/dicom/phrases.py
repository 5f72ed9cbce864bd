"""Words by which protocols name organs, sequences and techniques, in English, German, Chinese and some French.

Patterns are matched against `normalise`d text: lower case, separators and camel case turned into spaces. A word in Latin
letters matches whole only ("head", not "overhead"); Chinese is written without spaces and matches anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_SEPARATORS = re.compile(r"[\s_^\-./\\,;:()\[\]<>|&\"']+")
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÄÖÜ])")


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Return `text` in lower case with separators and camel case as single spaces."""
    composed = unicodedata.normalize("NFKC", text)
    return _SEPARATORS.sub(" ", _CAMEL.sub(" ", composed)).lower().strip()


def _word(latin: str, other: str = "") -> re.Pattern[str]:
    whole = rf"(?<![a-zß-ÿ])(?:{latin})(?![a-zß-ÿ])"
    return re.compile(f"{whole}|{other}" if other else whole)


VENDORS: Mapping[str, re.Pattern[str]] = {
    "Siemens": _word(r"siemens\w*|healthineers|magnetom"),
    "GE": _word(r"ge|gems|ge medical systems|ge healthcare|general electric|signa|discovery mr\w*|optima mr\w*"),
    "Philips": _word(r"philips\w*|achieva|ingenia|intera|panorama"),
    "UIH": _word(r"uih|united imaging\w*|u ?mr|umr \d+", "联影"),
    "Hitachi": _word(r"hitachi\w*|fujifilm\w*|airis|echelon|aperto|oasis", "日立|富士"),
    "Canon": _word(r"canon\w*|toshiba\w*|vantage|excelart", "佳能|东芝"),
}

ORGANS: Mapping[str, re.Pattern[str]] = {
    "head": _word(
        r"(?<!humeral )(?<!femoral )(?<!radial )head|brain|cerebr\w*|kopf|hirn|gehirn|neurocranium|sch(?:ä|ae)del\w*|crani?um|crane|crânio"
        r"|cranial|skull|cerveau|encephal\w*|hypophys\w*|pituitary",
        "头|頭|颅|顱|脑|腦",
    ),
    "knee": _word(r"knees?|knie\w*|genou|menis[ck]\w*", "膝"),
    "C-spine": _word(r"c ?spine|cervical\w*|hws|halswirbel\w*|rachis cervical", "颈椎|頸椎|颈髓|頸髄"),
    "T-spine": _word(r"th? ?spine|d ?spine|thoracic|dorsal spine|bws|brustwirbel\w*|rachis dorsal", "胸椎|胸髓"),
    "L-spine": _word(r"l ?spine|l ?s ?spine|lumbar\w*|lumbal\w*|lumbo ?sacral\w*|lws|lendenwirbel\w*|lombaire", "腰椎|腰骶"),
    "shoulder": _word(r"shoulders?|schulter\w*|shldr|epaule|épaule|humeral head|rotator cuff", "肩"),
}

OTHER_ORGANS: Mapping[str, re.Pattern[str]] = {
    "neck": _word(r"neck|hals|larynx", "颈部|頸部"),
    "spine": _word(r"(?:whole |total |full )?spine|wirbels(?:ä|ae)ule|ws", "脊柱|脊椎"),
    "abdomen": _word(r"abdom\w*|liver|leber|kidneys?|pancreas|mrcp", "腹|肝"),
    "pelvis": _word(r"pelvi[sc]|becken|prostat\w*|uterus", "盆|前列腺"),
    "breast": _word(r"breasts?|mamm?a\w*", "乳"),
    "heart": _word(r"heart|cardiac|herz", "心"),
    "chest": _word(r"chest|thorax|lungs?", "胸部"),
    "hip": _word(r"hips?|h(?:ü|ue)fte|femoral head", "髋"),
    "ankle": _word(r"ankles?|sprunggelenk\w*|osg", "踝"),
    "foot": _word(r"foot|feet|fuss|fuß", "足"),
    "wrist": _word(r"wrists?|handgelenk\w*", "腕"),
    "hand": _word(r"hands?|fingers?", "手"),
    "elbow": _word(r"elbows?|ellenbogen", "肘"),
}
"""Organs outside the product's six: named as they are, so that nobody takes them for one of the six."""

DIFFUSION = re.compile(
    r"(?<![a-z])(?:dwi|dti|ivim|dki|hardi|diff\w*|trace ?w?(?![a-z])|adc(?![a-z])|(?<!deep )resolve(?![a-z])|ep b\d)|弥散|彌散|扩散|擴散"
)
MAGNETIZATION_TRANSFER = _word(r"mtc?|mt ?on|mt ?1|magneti[sz]ation transfer", "磁化传递|磁化转移")
NO_MAGNETIZATION_TRANSFER = _word(r"mt ?off|mt ?0|no mt|without mt")
DIXON = re.compile(r"dixon|水脂分离|(?<![a-z])(?:wfi|ideal|lava ?flex|fact|qfatwat\w*)(?![a-z])")
FLAIR = re.compile(r"flair|dark ?fluid|液体衰减|水抑制|黑水")
STIR = _word(r"stir|tirm|t2 ?stir", "短反转")
T2_STAR = re.compile(
    r"t2 ?\*|t2 ?star|(?<![a-z])(?:t2s|t2 ?ffe|ffe t2|t2 ?gre|gre t2|t2 fl[23]d|medic|merge|swan|swip?|sw angio|ven ?bold|bold|h(?:a?e|ä)mo)(?![a-z])"
    r"|磁敏感"
)
PROTON_DENSITY = re.compile(r"(?<![a-z])(?:sag|ax|tra|cor)?(?:pd|dp)(?:w|fs|tse|fse)?(?![a-z])|proton|质子|質子")
T1 = re.compile(r"(?<![a-z0-9])(?:sag|ax|tra|cor|ob)?t1(?![0-9])|(?<![a-z])(?:mp2?rage|bravo|f?spgr|tfl3d|vibe|lava|thrive)(?![a-z])")
T2 = re.compile(r"(?<![a-z0-9])(?:sag|ax|tra|cor|ob)?t2(?![0-9])|(?<![a-z])(?:haste|ssfse|sshtse|ciss|fiesta)(?![a-z])")

FAT_SUPPRESSED = re.compile(
    r"(?<![a-z])(?:fs|(?:pd|t1|t2|pdw|t2w|t1w)fs|fat ?sat\w*|fatsup\w*|fat supp?\w*|sp(?:ai|i)r|stir|tirm(?!.*dark ?fluid)|chess"
    r"|fettges\w*|fettunter\w*|fettsupp?\w*|we|wats|proset)(?![a-z])|压脂|壓脂|抑脂|脂肪抑制|脂肪饱和"
)
ACCELERATION = re.compile(
    r"(?<![a-z0-9])(?:p|i ?pat|grappa|m?sense|asset|arc|caipi\w*|cs sense|cs)[ =x]?([1-9](?:[.][0-9])?)(?![0-9])(?:s([1-9]))?(?![a-z0-9])"
)
"""Factor and, after "s", that of the partition direction: "p2", "p3s2", "SENSE 1.5"; match it against `numeric`."""

AXIAL = _word(r"tra|trans|transv\w*|tv|ax|axi|axial|axiale", "横断|轴位|横轴")
SAGITTAL = _word(r"sag|sagittal\w*|sagitt?ale", "矢状")
CORONAL = _word(r"cor|kor|coronal\w*|koronar\w*|frontal", "冠状|冠狀")

LOCALISER = _word(
    r"locali[sz]ers?|lokali[sz]er|loc|scout\w*|survey\w*|pilot|plan ?scan|smart ?brain|(?:ü|ue)bersicht\w*",
    "定位",
)
MAP_NAMES: Mapping[str, re.Pattern[str]] = {
    "an exponential ADC map": _word(r"e ?adc|exp\w* adc|exponential (?:apparent )?\w*"),
    "an ADC map": _word(r"adc(?: maps?)?|apparent diffusion coefficient.*", "表观扩散系数|表观弥散系数"),
    "a fractional anisotropy map": _word(r"fa maps?|fractional aniso\w*|col(?:ou?r)? ?fa", "各向异性"),
    "a projection": _word(r"mips?(?: \w+)?|min ?ips?(?: \w+)?|mnips?", "最大密度投影"),
    "a relaxation map": _word(r"[tr][12](?: ?\*| ?star)? ?maps?"),
    "a perfusion map": _word(r"r?(?:el)? ?(?:cb[fv]|mtt|ttp|tmax)(?: maps?)?"),
    "a subtraction": _word(r"subtract\w*|subs?|subtraktion", "减影"),
    "a fat fraction map": _word(r"fat ?frac\w*"),
    "a field map": _word(r"b[01] ?maps?"),
}
"""Derived images by the name of their series."""
VENDOR_AI = _word(
    r"deep ?resolve|air ?recon\w*(?: ?dl)?|ardl|recon ?dl|smart ?speed(?: ?ai)?|adaptive ?cs(?: ?net)?|cs ?ai|u ?ai(?: ?fi)?|deep ?recon"
    r"|ai ?ce|dlr|piqe|synergy ?dlr|subtle ?(?:mr|hd)|swift ?mr|airs ?medical|denois\w*|entrauscht",
    "降噪|去噪|深度学习",
)
VENDOR_AI_SIEMENS = _word(r"dr[bgs]")
"""Deep Resolve Boost, Gain, Sharp in Siemens' image types and series names."""
VENDOR_AI_UIH = _word(r"acs|ai ?acs|u ?acs")
"""United Imaging's AI-assisted compressed sensing; elsewhere ACS means other things."""
OWN = re.compile(r"one ?nex(?![a-z])")


def numeric(text: str) -> str:
    """Return `text` as `normalise` does, but with decimal points kept ("SENSE 1.5")."""
    return normalise(re.sub(r"(?<=\d)[.,](?=\d)", "·", text)).replace("·", ".")


def named(text: str, vocabulary: Mapping[str, re.Pattern[str]]) -> str | None:
    """Return the one entry of `vocabulary` that `text` names; None when it names none or several."""
    plain = normalise(text)
    found = [name for name, pattern in vocabulary.items() if pattern.search(plain)]
    return found[0] if len(found) == 1 else None
