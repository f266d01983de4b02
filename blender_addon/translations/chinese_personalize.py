"""Personalizing and adapters in Simplified Chinese: the panel, its options, reports, and what the backend says of photos."""

PERSONALIZE = {
    # panel and menu
    "Personalize": "个性化",
    "Personalize Avatar": "个性化头像",
    "Personalize with {count} Files": "用 {count} 个文件个性化",
    "Stop Personalizing": "停止个性化",
    "Add Photos or a Video": "添加照片或视频",
    "Add Photos or a Video...": "添加照片或视频...",
    "Add photos or a video of this person": "请添加此人的照片或视频",
    "Uses its own photo unless you add others: {names}": "未添加其他照片时使用其自身的照片：{names}",
    "Linked avatars are personalized in the file they come from": "链接的头像请在其来源文件中个性化",
    "Keeping the best so far. Cancel again to drop it": "正在保留目前最好的结果，再次取消则放弃",
    "Stopped before anything was better: the avatar is as it was": "在有改进之前已停止：头像保持原样",
    "Its Head's File": "其头部文件",
    "Method": "方法",
    "Steps": "步数",
    "Likeness": "相似度",
    "Refinement": "细化",
    "LoRA + Registers": "LoRA + 寄存器",
    "LoRA": "LoRA",
    (
        "One photo sharpens what it shows. Four or more also correct colours and shape, and some are held out to judge. "
        "A video gives up to 24. Where held-out pixels get no better, the avatar stays as it is."
    ): (
        "一张照片使其所示部分更清晰；四张或更多还会校正颜色和形状，其中一部分留作评判；"
        "一段视频最多取 24 帧；若留出的像素没有变好，头像保持原样"
    ),
    (
        "FFAvatar's network goes on learning from what only the avatar's file holds: personalize that on the command line "
        "(lookalike personalize), and import the result."
    ): "FFAvatar 的网络需从仅存于头像文件中的内容继续学习：请在命令行中个性化该文件（lookalike personalize），再导入结果",
    "Network": "网络",
    "The network that made the avatar goes on learning from these photos, and makes it anew": (
        "生成头像的网络继续从这些照片学习，并重新生成头像"
    ),
    (
        "Adapts GAGAvatar's network: needs its weights at the backend (lookalike models add), your FLAME file, "
        "and two photos or more, its own among them. Minutes on a GPU, hours without."
    ): (
        "调整 GAGAvatar 的网络：后端需有其权重（lookalike models add）、您的 FLAME 文件，"
        "以及两张或更多照片，其中包括其自身的照片；有 GPU 需数分钟，没有则需数小时"
    ),
    "The model that made this avatar has no way to personalize it": "生成此头像的模型无法对其个性化",
    # adapters
    "Adapter": "适配器",
    "Adapters": "适配器",
    "Adapter On": "适配器开",
    "Adapter Off": "适配器关",
    "The Other": "另一状态",
    "Switch Adapter": "切换适配器",
    "Merge Adapter": "合并适配器",
    "Remove Adapter": "移除适配器",
    "Save Adapter": "保存适配器",
    "Save Adapter...": "保存适配器...",
    "Load Adapter": "载入适配器",
    "Load Adapter...": "载入适配器...",
    "{name} is on": "{name} 已开启",
    "{name} is off": "{name} 已关闭",
    "{name} is part of the avatar now": "{name} 现已成为头像的一部分",
    "Removed {name}": "已移除 {name}",
    "No avatar has adapters: personalize one first": "没有头像带有适配器：请先个性化一个",
    "No avatar is being personalized": "没有头像正在个性化",
    "Personalizing {name}: progress and Cancel are in the panel": "正在个性化 {name}：进度和取消在面板中",
    "The adapter {adapter} is on": "适配器 {adapter} 已开启",
    "The adapter {adapter} is on: held-out pixels went from {before} to {after} dB ({gain})": (
        "适配器 {adapter} 已开启：留出像素从 {before} 变为 {after} dB（{gain}）"
    ),
    # options and tooltips
    "What the active avatar is personalized with: photos, or one video": "用于个性化活动头像的内容：照片，或一段视频",
    "Photos": "照片",
    "The highlighted photo": "高亮的照片",
    "How the avatar is personalized": "头像如何个性化",
    "How long it may learn; the best state on the way is kept": "最多学习多久；保留途中最好的状态",
    "Who allowed these photos to be used, and for what; stored in the adapter": "谁允许使用这些照片以及用途；存入适配器",
    "What fits the model that made the avatar": "适合生成此头像的模型的方法",
    "The splats themselves are refined until they look like the photos": "直接细化泼溅点，直到与照片相像",
    "The network that made the avatar learns small factors, helped by registers, and makes it anew": (
        "生成头像的网络在寄存器帮助下学习小因子，并重新生成头像"
    ),
    "The network that made the avatar learns small factors and makes it anew": "生成头像的网络学习小因子，并重新生成头像",
    "Name of the adapter; empty for the last one": "适配器的名称；留空为最后一个",
    "What the adapter shall be": "适配器应处的状态",
    "On where it is off, off where it is on": "关则开，开则关",
    "It shows": "显示",
    "It does not show": "不显示",
    "Switch the adapter on or off; with all off, the avatar is as it was before": "开启或关闭适配器；全部关闭时头像与之前一样",
    "Make the adapter part of the avatar for good, whether it is on or off; it cannot be switched any more": (
        "不论开关，将适配器永久并入头像；此后不能再切换"
    ),
    "Take the adapter out of the avatar, which is then as without it": "从头像中取出适配器，头像便如同没有它",
    "Write the adapter to a file of its own, by default beside the .blend; it stays in the avatar too": (
        "将适配器写入单独的文件，默认在 .blend 旁边；头像中也保留"
    ),
    "Add an adapter that was saved from this avatar": "添加从此头像保存的适配器",
    "Refine the avatar by photos or a video of its person; it gets better before your eyes, and Blender stays free to work in": (
        "用此人的照片或视频细化头像；可看着它变好，期间 Blender 仍可使用"
    ),
    "Stop refining the avatar and keep the best so far; once more drops it": "停止细化头像并保留目前最好的结果；再次执行则放弃",
    "Add photos of the avatar's person, or one video; photos of other sides and lights help most": (
        "添加此人的照片或一段视频；其他角度和光线的照片最有帮助"
    ),
    "Stop this job and keep the best so far": "停止此任务并保留目前最好的结果",
    "Drop this job at once; the avatar stays as it was": "立即放弃此任务；头像保持原样",
    # errors of the add-on
    "There is no photo to personalize {a} with": "没有可用于个性化 {a} 的照片",
    "add photos or a video of this person": "请添加此人的照片或视频",
    "a video is used alone": "视频须单独使用",
    "take the other files out of the list": "请从列表中移除其他文件",
    "{a} photos are more than can be sent": "{a} 张照片超出可发送的数量",
    "use at most {a}": "最多使用 {a} 张",
    "use fewer or smaller files": "请使用更少或更小的文件",
    "is being personalized already": "正在个性化",
    "wait for it, or stop it": "请等待，或停止它",
    "is in Edit Mode": "处于编辑模式",
    "leave Edit Mode first": "请先退出编辑模式",
    "undo has brought other splats back than were sent": "撤销恢复的泼溅点与发送的不同",
    "personalize it again": "请重新个性化",
    "FFAvatar's network goes on learning from what only the avatar's file holds": "FFAvatar 的网络需从仅存于头像文件中的内容继续学习",
    "personalize that on the command line (lookalike personalize), and import the result": (
        "请在命令行中个性化该文件（lookalike personalize），再导入结果"
    ),
    "The avatar that the photos are for is gone": "照片所针对的头像已不存在",
    "select another one and personalize that": "请选择另一个头像进行个性化",
    "append it, or do this in the file it comes from": "请追加它，或在其来源文件中操作",
    "its rig mesh has other faces than its adapters were learned on": "其绑定网格的面与适配器学习时不同",
    "undo the edits of its rig mesh": "请撤销对其绑定网格的编辑",
    "splats were added or removed that its adapters do not know": "增删了其适配器不知道的泼溅点",
    "undo that, or import it again": "请撤销，或重新导入",
    "what it looked like before its preview is lost": "预览之前的样子已丢失",
    "undo, or import it again": "请撤销，或重新导入",
    "the backend sent no adapter": "后端没有发送适配器",
    "the backend's adapter is of other splats than it was given": "后端的适配器对应的泼溅点与所给的不同",
    "the backend sent other splats than it was given": "后端发送的泼溅点与所给的不同",
    "belongs to another avatar than {a}, or splats were removed since": "属于 {a} 以外的头像，或此后移除过泼溅点",
    "use it with the avatar that it was saved from": "请用于保存它的头像",
    "not an adapter of an avatar": "不是头像的适配器",
    "choose a file that was saved from an avatar": "请选择从头像保存的文件",
    "not a valid adapter ({a})": "不是有效的适配器（{a}）",
    "too large for an adapter": "对适配器来说太大",
    "save it again": "请重新保存",
    "{a} has {b} adapters already": "{a} 已有 {b} 个适配器",
    "remove or merge some": "请移除或合并一些",
    "{a} has no adapter {b}": "{a} 没有适配器 {b}",
    "it has: {a}": "它有：{a}",
    # what the backend says of photos
    "the photos make the avatar no better: held-out pixels ({a}) went from {b} to {c} dB": (
        "这些照片没有使头像变好：留出像素（{a}）从 {b} 变为 {c} dB"
    ),
    "give other photos of the person, sharper, evenly lit and from several sides; the avatar stays as it is": (
        "请提供此人的其他照片，更清晰、光线均匀、多个角度；头像保持原样"
    ),
    "seems not to be the person of {a}; details of the face agree by less than {b}": "似乎不是 {a} 本人；面部细节的一致度低于 {b}",
    "leave it out": "请将其去掉",
    "use a video of this person, sharp and seen from the front": "请使用此人清晰、正面的视频",
    "no face found": "未找到人脸",
    "{a} was made by {b}, which cannot be personalized": "{a} 由 {b} 生成，无法个性化",
    "{a} was made by {b}, which cannot be personalized by {c}": "{a} 由 {b} 生成，不能用 {c} 个性化",
    "use an avatar made by {a}": "请使用由 {a} 生成的头像",
    "{a} was made on {b}, not on {c}": "{a} 基于 {b} 而非 {c}",
    "give the file of the head that it was made on": "请给出其所基于的头部文件",
}
