"""The words a prompt is read with, apart from nouns: places, times, weather, colours, numbers, relations and styles, in English and Chinese.

Each row is `meaning: "English, words / 中文, 词"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

PLACES = {
    "meadow": "meadow, field, fields, grassland, prairie, pasture, grass, countryside, lawn, savanna, savannah, valley, plain, hill, hills, hilltop, hillside / 草地, 草原, 田野, 草坪, 牧场, 郊外, 山坡, 山谷, 小山, 原野, 乡间, 草丛",
    "garden": "garden, flower field, flower garden, backyard, yard, orchard, lavender field, tulip field, greenhouse / 花园, 花田, 花海, 院子, 庭院, 果园, 花丛",
    "park": "park, playground, picnic / 公园, 操场, 游乐园, 野餐",
    "farm": "farm, farmland, crops, wheat field, rice field, cornfield, rice paddy, rice terraces / 农场, 农田, 稻田, 麦田, 田里, 田间, 梯田",
    "mountains": "mountain, mountains, alps, peak, peaks, snow mountain, summit, cliff, himalayas, mount fuji, canyon / 山, 山脉, 高山, 雪山, 山峰, 群山, 山顶, 山水, 悬崖, 富士山, 黄山, 山上",
    "sea": "sea, ocean, waves, wave, harbor, harbour, port, bay, seascape, high seas / 海, 大海, 海洋, 海浪, 港口, 海湾, 海上, 海面, 海水",
    "beach": "beach, seaside, shore, coast, seashore, coastline, tropical island / 海滩, 沙滩, 海边, 海岸",
    "lake": "lake, river, pond, stream, lakeside, riverside, creek, riverbank, water / 湖, 河, 池塘, 小溪, 湖边, 河边, 江, 湖泊, 河流, 湖面, 江面, 溪水, 江南, 西湖, 湖水, 水面, 水边, 水乡, 江边, 江上",
    "forest": "forest, woods, woodland, jungle, rainforest, grove, bamboo forest / 森林, 树林, 丛林, 林间, 雨林, 竹林, 林中, 林子",
    "desert": "desert, dune, dunes, sahara, sand dunes / 沙漠, 沙丘, 戈壁, 大漠",
    "city": "city, street, town, skyline, downtown, urban, cityscape, skyscraper, skyscrapers, road, highway, alley, tokyo, new york, shanghai, london, hong kong, metropolis, traffic light / 城市, 街道, 街, 街头, 都市, 大街, 马路, 街上, 小巷, 上海, 东京, 北京, 纽约, 公路, 高楼, 高楼大厦, 摩天大楼, 夜市, 城里",
    "village": "village, hamlet, small town, countryside village / 村庄, 村子, 乡村, 小镇, 古镇, 村落",
    "snow": "snow field, snowfield, snowy field, snow-covered, arctic, antarctica, antarctic, north pole, south pole, tundra, ice, glacier, iceland, ski slope / 雪地, 雪原, 北极, 南极, 冰川, 冰原, 冰面, 滑雪场, 冰天雪地, 冰上",
    "space": "space, outer space, galaxy, universe, cosmos, nebula, cosmic, milky way, orbit / 太空, 宇宙, 银河, 星系, 星云, 外太空",
    "moon": "on the moon, moon surface, lunar, lunar surface, on mars, mars / 月球, 月球上, 月亮上, 火星, 火星上",
    "underwater": "underwater, under the sea, under water, seabed, ocean floor, deep sea, aquarium, undersea, bottom of the sea / 海底, 水下, 水底, 深海, 水族馆, 海里, 水里, 水中",
    "sky": "sky, in the clouds, above the clouds, sea of clouds, clouds, in the air, heaven / 天空, 天上, 云端, 云海, 空中, 云上, 蓝天, 高空, 云层",
    "room": "room, house interior, indoors, indoor, nursery, interior, by the window, windowsill, cozy room, at home, window, attic / 房间, 室内, 屋里, 窗边, 窗台, 窗前, 家里, 窗户, 屋内",
    "room with a bookshelf": "library, study / 图书馆, 书房",
    "room with a bed": "bedroom / 卧室",
    "room with a sofa": "living room, lounge / 客厅",
    "room with a table": "kitchen, classroom, office, dining room / 厨房, 教室, 办公室, 餐厅里",
    "table": "still life, breakfast, tabletop, on a plate, dinner, lunch, feast / 静物, 早餐, 餐桌上, 桌面, 晚餐, 午餐",
}

TIMES = {
    "dawn": "dawn, sunrise, daybreak, early morning / 黎明, 日出, 清晨, 拂晓, 晨曦, 破晓, 朝霞",
    "day": "day, daytime, noon, midday, morning, afternoon, daylight / 白天, 中午, 早晨, 上午, 下午, 午后, 早上",
    "sunset": "sunset, dusk, evening, twilight, golden hour, sundown, setting sun / 日落, 黄昏, 傍晚, 夕阳, 晚霞, 落日, 暮色",
    "night": "night, midnight, nighttime, night sky, moonlit, moonlight, starry, starry night, starry sky, dark / 夜晚, 晚上, 夜, 深夜, 夜空, 夜里, 星空, 月光, 月夜, 夜色, 夜景, 午夜",
}

WEATHERS = {
    "clear": "clear, sunny, sunshine, bright sun / 晴, 晴天, 晴朗, 阳光, 阳光明媚",
    "cloudy": "cloudy, overcast, cloud / 多云, 阴天, 云, 白云, 云朵",
    "rain": "rain, rainy, raining, drizzle / 雨, 下雨, 雨天, 小雨, 大雨, 雨中, 细雨, 烟雨, 春雨",
    "snow": "snow, snowy, snowing, snowfall, snowflakes, blizzard, in the snow / 雪, 下雪, 雪天, 大雪, 雪花, 飘雪, 白雪",
    "fog": "fog, foggy, mist, misty, haze, hazy / 雾, 薄雾, 大雾, 晨雾, 云雾, 烟雾",
    "storm": "storm, stormy, thunder, lightning, thunderstorm / 暴风雨, 雷雨, 闪电, 打雷, 风暴",
    "wind": "wind, windy, breeze, breezy / 风, 大风, 微风, 有风",
    "rainbow": "rainbow, rainbows / 彩虹",
    "aurora": "aurora, northern lights, aurora borealis / 极光",
}

SKY = {
    "sun": "sun / 太阳",
    "moon": "moon, full moon, crescent, crescent moon / 月亮, 明月, 满月, 圆月, 弯月, 月牙",
    "stars": "star, stars / 星星, 繁星, 星",
}

SEASONS = {
    "spring": "spring, springtime / 春, 春天, 春季, 春日",
    "summer": "summer, summertime / 夏, 夏天, 夏日, 夏季",
    "autumn": "autumn, fall, autumnal, fall leaves, autumn leaves, fallen leaves / 秋, 秋天, 秋日, 秋季, 金秋, 落叶",
    "winter": "winter, wintry, winter's, christmas / 冬, 冬天, 冬日, 冬季, 圣诞, 圣诞节",
}

MOODS = {
    "calm": "calm, peaceful, quiet, serene, tranquil, cozy, cosy, dreamy, gentle, relaxing / 宁静, 平静, 安静, 温馨, 梦幻, 祥和, 惬意",
    "happy": "happy, cheerful, joyful, bright, fun, playful, festive, celebration, party, birthday / 快乐, 欢快, 开心, 喜庆, 热闹, 生日, 庆祝",
    "dark": "spooky, scary, gloomy, eerie, mysterious, halloween, haunted / 恐怖, 阴森, 神秘, 诡异, 万圣节",
    "magic": "magic, magical, enchanted, fairytale, fantasy, glowing, fireflies, firefly, dreamlike / 魔法, 童话, 奇幻, 梦境, 发光, 萤火虫, 奇妙",
    "lonely": "sad, lonely, melancholy, alone / 孤独, 悲伤, 忧郁, 寂寞",
}

COLOURS = {
    "#d9383a": "red, crimson, scarlet / 红色, 红, 大红",
    "#f0853a": "orange coloured, orange-colored, orange / 橙色, 橘色, 橙",
    "#f4c430": "yellow, golden, gold / 黄色, 黄, 金色, 金黄色, 金",
    "#5aa84f": "green, emerald / 绿色, 绿, 翠绿, 翠绿色",
    "#3f7fd6": "blue, azure, navy / 蓝色, 蓝, 天蓝色, 深蓝色",
    "#3dbcc4": "turquoise, teal, cyan, aqua / 青色, 青, 青绿色",
    "#8a5cc4": "purple, violet, lilac / 紫色, 紫",
    "#f08cb0": "pink, rosy / 粉色, 粉红, 粉红色, 粉",
    "#8a5a3c": "brown / 棕色, 褐色, 咖啡色",
    "#3c3f45": "black / 黑色, 黑",
    "#f7f4ee": "white, snow-white / 白色, 白, 雪白, 洁白",
    "#9aa2a8": "grey, gray, silver / 灰色, 灰, 银色",
}

NUMBERS = {
    1: "a, an, one, single, lone / 一, 一个",
    2: "two, pair of, couple of, a pair of, a couple of, twin / 两, 二, 一对, 双",
    3: "three, trio of, a few, few, some, several / 三, 几, 一些",
    4: "four / 四",
    5: "five, many, a group of, lots of, a lot of, group of, flock of, a flock of, herd of, a herd of / 五, 许多, 很多, 一群, 群, 好多",
    6: "six, half a dozen / 六",
    7: "seven, dozens of / 七, 无数",
    8: "eight / 八",
    9: "nine / 九",
    10: "ten / 十",
    11: "eleven / 十一",
    12: "twelve, dozen, a dozen / 十二",
}

SIZES = {
    0.6: "tiny, miniature, mini, little / 小小, 迷你, 微小, 小小的",
    0.8: "small / 小",
    1.3: "big, large, tall, great / 大, 高大, 大大, 高高",
    1.7: "huge, giant, gigantic, enormous, massive, colossal / 巨大, 庞大, 超大, 巨型",
}

RELATIONS = {
    "on": "on, on top of, atop, riding, sitting on, sleeping on, standing on, lying on, rides, ride, aboard / 骑, 骑着, 坐在, 趴在, 站在, 躺在, 停在",
    "in": "in, inside, inside of, into, within / ",
    "under": "under, beneath, below, underneath / ",
    "over": "over, above, flying over / 飞过, 越过",
    "beside": "beside, next to, near, by, alongside, besides / ",
    "behind": "behind / ",
    "front": "in front of, before / ",
    "between": "between / ",
    "wearing": "wearing, wears / 戴着, 戴, 头戴",
    "with": "with / 带着",
    "holding": "holding, holds, carrying, carries, reading, reads, eating, eats, drinking, drinks, playing with, playing, plays / 看, 读, 吃, 喝, 弹, 拿着, 举着, 抱着, 牵着, 手持, 拉着, 提着, 撑着, 打着",
}
"""Between two nouns. `with` means holding for a person and a thing, beside for anything else."""

AFTER = {
    "on": "上, 上面, 顶上, 之上",
    "in": "里, 里面, 中, 内, 中间",
    "under": "下, 下面, 底下, 之下",
    "beside": "旁, 旁边, 边, 边上, 附近, 身边",
    "behind": "后面, 后, 背后, 身后",
    "front": "前, 前面, 面前",
    "between": "之间",
}
"""Chinese words that follow the noun they speak of: 在桌子上."""

NEGATIONS = "without, no, not, without any / 没有, 不要, 无, 不含, 不带"

ACTIONS = {
    "air": "flying, flies, soaring, gliding, floating in the sky / 飞翔, 飞, 飞行, 飞舞, 翱翔",
    "1f3c3": "running, runs, jogging, run / 跑步, 奔跑, 跑",
    "1f483": "dancing, dances / 跳舞",
    "1f6b4": "cycling, riding a bike, riding a bicycle, biking, rides a bike, rides a bicycle / 骑自行车, 骑车, 骑单车",
    "1f3c4-200d-2640-fe0f": "surfing, surfs / 冲浪",
    "26f7": "skiing, skis / 滑雪",
    "1f3ca-200d-2640-fe0f": "swimming / 游泳",
    "1f9d8": "meditating, doing yoga, yoga / 打坐, 冥想, 瑜伽",
    "1f6a3-200d-2642-fe0f": "rowing, rowing a boat / 划船, 划桨",
    "1f6b6": "walking, strolling / 走路, 散步, 行走",
}
"""What a person does, as the picture of a person doing it; `air`: whoever does it leaves the ground."""

STYLES = {
    "picture_book": "picture book, children's book, storybook, children's illustration / 绘本, 童书, 插画, 儿童绘本",
    "flat": "flat style, flat design, flat illustration, vector art, vector / 扁平, 扁平风, 扁平风格, 矢量",
    "watercolor": "watercolor, watercolour, watercolor painting, aquarelle / 水彩, 水彩画, 水彩风格",
    "ink": "ink wash, ink painting, chinese painting, sumi-e, ink wash painting, shuimo, chinese ink, traditional chinese painting / 水墨, 水墨画, 国画, 中国画, 山水画, 水墨风格, 水墨风",
    "pixel_art": "pixel art, pixel, 8-bit, 8 bit, pixelated / 像素, 像素风, 像素画, 像素艺术",
    "paper_cut": "paper cut, paper-cut, papercut, layered paper, paper craft, origami / 纸艺, 纸雕, 折纸",
    "new_year_paper_cut": "chinese paper cut, chinese paper-cut, red paper cut / 剪纸, 窗花, 剪纸风格",
    "poster": "travel poster, retro poster, vintage poster, art deco, screen print / 复古海报, 版画, 宣传画",
    "cyberpunk": "cyberpunk, neon, synthwave, vaporwave / 赛博朋克, 霓虹, 蒸汽波",
    "oil_painting": "oil painting, oil paint, oil on canvas, van gogh / 油画, 油画风格, 梵高",
    "impressionist": "impressionist, impressionism, monet / 印象派, 莫奈",
    "sketch": "pencil sketch, pencil drawing, sketch, charcoal, line drawing, line art / 素描, 铅笔画, 速写, 线稿",
    "comic": "comic, comic book, cartoon, pop art, manga colour, anime / 漫画, 卡通, 动漫, 日漫, 波普",
    "manga": "manga, black and white comic, black and white / 黑白漫画, 黑白",
    "minimalist": "minimalist, minimal, minimalism / 极简, 简约, 极简主义",
    "porcelain": "blue and white porcelain, porcelain, blue-and-white / 青花瓷, 青花, 瓷器",
    "mosaic": "mosaic, stained glass, tiles / 马赛克, 镶嵌画, 彩色玻璃",
    "cubist": "cubist, cubism, picasso, low poly, low-poly / 立体主义, 毕加索, 低多边形",
}

JOINERS = "and / 和, 与, 跟, 还有, 以及, 同, 、"

PRONOUNS = "it, him, her, them / 它, 它们, 他, 她"

EXPANSIONS = {
    "family": "man, woman and child",
    "couple in love": "man and woman",
    "一家人": "男人、女人和孩子",
    "一家三口": "男人、女人和孩子",
    "sunflower field": "garden with five sunflowers",
    "向日葵花田": "花园，五朵向日葵",
    "monkey king": "monkey wearing a crown",
    "孙悟空": "猴子戴着皇冠",
    "nativity": "stable with a baby and a sheep at night",
    "solar system": "space with saturn, earth and a comet",
    "太阳系": "太空，土星、地球和彗星",
    "teddy bear picnic": "park with three teddy bears and a basket",
}
"""Words for a whole group of things, written out."""

POSSESSIVE = "的"
"""Ends what a negation speaks of, and leaves the noun before it the noun before."""

FILLER = "bowl of, cup of, glass of, plate of, piece of, slice of, bunch of, pile of, basket of, of, the, style, painting, illustration, picture, image, photo, drawing, scene, is, are, its, his, very, cute, beautiful, lovely, old, young / 了, 着, 在, 是, 有, 只, 个, 条, 头, 匹, 棵, 朵, 座, 艘, 辆, 架, 位, 名, 片, 幅, 张, 把, 本, 杯, 碗, 盏, 颗, 间, 栋, 株, 群, 可爱, 美丽, 海报, 大家, 国家, 中国"
"""Words that neither name a thing nor end a description."""


def by_word(table: Mapping[T, str]) -> dict[str, T]:
    """Each English and Chinese word of a table, to its meaning."""
    return {word: meaning for meaning, text in table.items() for word in split(text)}


def split(text: str) -> list[str]:
    """The words of one row."""
    return [word for part in text.split(" / ") for word in map(str.strip, part.strip(" /").split(", ")) if word]
