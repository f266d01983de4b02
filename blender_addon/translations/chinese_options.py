"""Properties, choices and tooltips of operators and settings, in Simplified Chinese."""

OPTIONS = {
    # refined frames
    "Export Motion": "导出动作",
    "Export Motion...": "导出动作...",
    "Write what the face does on each frame of the scene to a .motion file, for “lookalike render --motion”": (
        "将面部在场景每一帧的动作写入 .motion 文件，供“lookalike render --motion”使用"
    ),
    "Import Refined Frames": "导入精修帧",
    "Import Refined Frames...": "导入精修帧...",
    "Show frames of “lookalike render --refined --motion” before a camera that sees the avatar as they do": (
        "在与其视角一致的摄像机前显示“lookalike render --refined --motion”的帧"
    ),
    "At the Scene's Start": "从场景起始帧开始",
    "The first picture is on the scene's first frame": "第一张图片位于场景的第一帧",
    "The scene's frame of the first picture": "第一张图片所在的场景帧",
    "Plane": "平面",
    "Also a plane in the scene that shows the pictures and renders": "同时在场景中创建一个显示图片并可渲染的平面",
    "Use Camera": "使用摄像机",
    "Make it the scene's camera, with the resolution of the pictures": "将其设为场景摄像机，并采用图片的分辨率",
    # face board and presets
    "Flip Face": "翻转面部",
    "Copy Face": "复制面部",
    "Paste Face": "粘贴面部",
    "Control": "控制器",
    "One control; empty for the whole group": "单个控制器；留空为整组",
    "Flipped": "翻转",
    "Paste its mirror image": "粘贴其镜像",
    "Take its mirror image": "使用其镜像",
    "How much of it": "施加程度",
    "Preset": "预设",
    "Viseme, emotion or lids": "口型、情绪或眼睑",
    "Insert Keyframes": "插入关键帧",
    "Key the controls that it sets at the current frame": "为其所设的控制器在当前帧插入关键帧",
    "Pose": "姿态",
    "Name of the pose asset": "姿态资产的名称",
    "Bone": "骨骼",
    "Bones": "骨骼",
    "Name of the bone": "骨骼的名称",
    "Extend": "扩展",
    "Keep what is selected": "保留已选内容",
    "Which controls": "哪些控制器",
    "Which controls are shown": "显示哪些控制器",
    "Group": "组",
    "Part of the face, such as mouth or brows; empty for all": "面部的部位，如嘴或眉；留空为全部",
    "ARKit's 52 shapes over the same rig; what is captured lies here, and work on the face adds to it": (
        "同一绑定上的 ARKit 52 个形状；捕捉的内容在此，手工在面部上的工作叠加其上"
    ),
    "ARKit's 52 shapes over the same rig: captured motion lies here, and work on the face adds to it": (
        "同一绑定上的 ARKit 52 个形状：捕捉的动作在此，手工在面部上的工作叠加其上"
    ),
    "Set every expression to zero": "将所有表情设为零",
    "Return neck, jaw and eyes to rest": "将颈部、下巴和眼睛恢复原位",
    "Mirror the face: what the left side does, the right side does, with head, eyes and gaze; or one part of the face alone": (
        "镜像面部：左侧的动作变为右侧的，包括头部、眼睛和视线；或只翻转面部的一个部位"
    ),
    "Copy face, head, eyes and gaze as they stand, to paste them at another frame, on another avatar or in another Blender": (
        "复制当前的面部、头部、眼睛和视线，以粘贴到其他帧、其他头像或另一个 Blender"
    ),
    "Paste the copied face; what the avatar does not have is left out": "粘贴所复制的面部；头像没有的部分会略去",
    "Set the part of the face that the preset owns; the rest stays as it is": "设置预设所属的面部部位；其余保持不变",
    "Set face, head and eyes to this pose of yours, or blend towards it": "将面部、头部和眼睛设为您的此姿态，或向其混合",
    "Save face, head and eyes as they stand as a pose asset: it appears here and in the asset browser and shelf": (
        "将当前的面部、头部和眼睛存为姿态资产：它出现在此处、资产浏览器和资产架中"
    ),
    (
        "Give an avatar of an older file its face controls: bones with sliders that key, drive and make pose assets. "
        "Values and keys of its shape keys move there"
    ): "为旧文件的头像添加面部控制器：带滑块的骨骼，可插帧、驱动并制作姿态资产。其形态键的值和关键帧会移到那里",
    "Select this bone in Pose Mode; Shift-click adds it to the selection": "在姿态模式中选择此骨骼；Shift 点击可加选",
    "Insert a keyframe on these controls at the current frame": "在当前帧为这些控制器插入关键帧",
    "Set these controls to zero; keyframes stay": "将这些控制器设为零；关键帧保留",
    "Switch what these controls move off or on again, whatever they stand at": "关闭或重新开启这些控制器所驱动的内容，不论其数值",
    "Visible": "可见",
    # presets' names
    "Joy": "喜悦", "Sadness": "悲伤", "Anger": "愤怒", "Fear": "恐惧", "Disgust": "厌恶", "Surprise": "惊讶",
    "Blink": "眨眼", "Wink Left": "左眼眨", "Wink Right": "右眼眨", "Open": "张开", "Rest": "静止",
    "Emotions": "情绪", "Eyelids": "眼睑", "Visemes": "口型",
    "Brows": "眉毛", "Nose and Cheeks": "鼻与脸颊", "Jaw": "下巴", "Lips": "嘴唇", "Mouth": "嘴", "Tongue": "舌头", "Other": "其他",
    "Lower": "降低", "Raise Inner": "内侧抬起", "Raise Outer": "外侧抬起", "Squint": "眯眼", "Open Wide": "睁大",
    "Look Down": "向下看", "Look to the Nose": "向内看", "Look Outward": "向外看", "Look Up": "向上看",
    "Puff Cheeks": "鼓腮", "Raise Cheek": "抬起脸颊", "Wrinkle Nose": "皱鼻",
    "Push Forward": "前伸", "Slide Left": "向左移", "Slide Right": "向右移", "Part Lips": "微张嘴唇", "Close over Jaw": "合拢嘴唇",
    "Funnel (OH)": "漏斗形 (OH)", "Pucker (OO)": "噘嘴 (OO)", "Lower Lip Down": "下唇下移", "Upper Lip Up": "上唇上移",
    "Roll In Lower": "下唇内卷", "Roll In Upper": "上唇内卷", "Push Up Lower": "下唇上推", "Push Up Upper": "上唇上推",
    "Dimple": "酒窝", "Corner Down": "嘴角下垂", "Press": "抿紧", "Smile": "微笑", "Stretch": "拉伸", "Stick Out": "伸出",
    "Nod": "点头", "Turn": "转头", "Tilt": "侧倾", "Sideways": "左右移动", "Up / Down": "上 / 下", "Left / Right": "左 / 右",
    "Left Eye": "左眼", "Right Eye": "右眼",
    # motion
    "Track Video": "跟踪视频",
    "Lookalike: Track Video": "Lookalike：跟踪视频",
    "Track the face in a video of your own at the backend and key it on the avatar; Blender stays free to work in while it runs": (
        "由后端跟踪您自己视频中的人脸，并在头像上插入关键帧；运行期间可继续使用 Blender"
    ),
    "Key a captured performance: Live Link Face CSV, ARKit JSON, FLAME npz, pkl or folder, tracked video (.motion), or mouth cues": (
        "为捕捉的表演插入关键帧：Live Link Face CSV、ARKit JSON、FLAME npz、pkl 或文件夹、跟踪的视频 (.motion) 或口型线索"
    ),
    "Smoothing": "平滑",
    "Width of the smoothing in time": "平滑的时间宽度",
    "Width of the smoothing in time; 0 for none": "平滑的时间宽度；0 表示无",
    "Key Reduction": "关键帧精简",
    "Largest error of an expression that leaving out keys may cause": "略去关键帧可造成的最大表情误差",
    "Largest error of an expression, of 1, that leaving out keys may cause; 0 keys every frame. Angles: 0.1° at 0.005": (
        "略去关键帧可造成的最大表情误差（满值为 1）；0 为每帧插入。角度：0.005 对应 0.1°"
    ),
    "Sound": "声音",
    "Add the recording to the sequencer, so that it is heard while playing and scrubbing": "将录音添加到序列编辑器，播放和拖动时可听到",
    "Sound File": "声音文件",
    "Empty takes the sound or video of the same name beside the file, if there is one": "留空则使用文件旁同名的声音或视频（若有）",
    "FLAME Map": "FLAME 映射",
    "What `lookalike flame-map` made: FLAME's expressions on avatars that are not built on FLAME": (
        "`lookalike flame-map` 制作的文件：用于不基于 FLAME 的头像的 FLAME 表情"
    ),
    "Coarticulation": "协同发音",
    "Mouth cues: how much shapes flow into each other": "口型线索：口型之间融合的程度",
    "Which face, counted from the left from 0; -1 asks where there are several": "哪张人脸，从左起由 0 计数；-1 表示有多张时询问",
    "Start Frame": "起始帧",
    "Frame of the take's first moment": "动作第一刻所在的帧",
    "Gain": "增益",
    "Factor of expressions and jaw": "表情与下巴的系数",
    "Head Rotation": "头部旋转",
    "Turn the neck by the take's head rotation": "按动作的头部旋转转动颈部",
    "Head Gain": "头部增益",
    "Factors of nod, turn and tilt; a negative one turns the other way": "点头、转头和侧倾的系数；负值反向",
    "Shapes to": "形状写入",
    "Where ARKit's shapes are keyed; other names always go to the face": "ARKit 形状的关键帧写入何处；其他名称总是写入面部",
    "Keys to": "关键帧写入",
    "Where the take's action goes": "动作放在何处",
    "Source Frame Rate": "源帧率",
    "Frames a second of the take; 0 goes by the file": "动作每秒的帧数；0 表示以文件为准",
    "ARKit Layer": "ARKit 层",
    "Work by hand on the face adds to it": "手工在面部上的工作叠加其上",
    "Onto expressions, jaw and eyes themselves": "直接写入表情、下巴和眼睛",
    "New Action": "新动作",
    "It becomes the active action; the one before is kept": "它成为活动动作；之前的会保留",
    "NLA Strip": "NLA 片段",
    "Into a track of its own; the active action stays": "放入自身的轨道；活动动作不变",
    "Frame of the first key": "第一个关键帧所在的帧",
    "Number of frames": "帧数",
    "Listen for Live Link Face and show the face on the active avatar, on its ARKit layer": (
        "监听 Live Link Face，并在活动头像的 ARKit 层上显示面部"
    ),
    "Stop listening; a recording that runs is keyed first": "停止监听；正在进行的录制会先插入关键帧",
    "Record the live face from the current frame; pressed again, what was recorded becomes keys in a new action": (
        "从当前帧录制实时面部；再次按下则将录制内容变为新动作中的关键帧"
    ),
    "UDP port that the phone sends to": "手机发送到的 UDP 端口",
    "Who may send": "谁可以发送",
    "Phones and computers of the network; needs Blender's online access": "网络中的手机和电脑；需要 Blender 的在线访问",
    # levels and parts
    "Level": "级别",
    "Level of Detail": "细节级别",
    "Level of detail that is drawn": "绘制的细节级别",
    "One splat for each vertex of the rig": "绑定的每个顶点一个泼溅点",
    "The rig subdivided once": "绑定细分一次",
    "The rig subdivided twice": "绑定细分两次",
    "By size on screen": "按屏幕上的大小",
    "The highest level that the avatar has": "头像具有的最高级别",
    "Coarse: one splat a vertex of the rig": "粗略：绑定的每个顶点一个泼溅点",
    # editing
    "Action": "操作",
    "How much the stroke changes": "笔画改变的程度",
    "Hide the region; off shows it again": "隐藏该区域；关闭则重新显示",
    "Scalp and fringe, by place and colour": "头皮与刘海，按位置和颜色",
    "What lies below the neck": "颈部以下的部分",
    "What moves with the neck's root": "随颈根移动的部分",
    "Skin that expressions move": "表情所移动的皮肤",
    "Both eyeballs": "两只眼球",
    "The person's left side is good": "人物的左侧完好",
    "The person's right side is good": "人物的右侧完好",
    "drag over splats   |   Ctrl at the start: the opposite   |   Esc, Right Mouse: cancel": (
        "在泼溅点上拖动   |   开始时按 Ctrl：相反操作   |   Esc、右键：取消"
    ),
    "Drag, then let go   |   Esc, Right Mouse: cancel": "拖动后松开   |   Esc、右键：取消",
    "Hide, restore, fade, strengthen, shrink, grow or repair splats of an avatar": "隐藏、恢复、淡化、加强、缩小、放大或修复头像的泼溅点",
    "Hide the splats inside a rectangle; with Ctrl show them": "隐藏矩形内的泼溅点；按住 Ctrl 则显示",
    "Hide the splats inside a drawn outline; with Ctrl show them": "隐藏所画轮廓内的泼溅点；按住 Ctrl 则显示",
    "Turn splats that an older Blender stored as meshes into this Blender's own Gaussian splats, which its engines render": (
        "将较旧 Blender 存为网格的泼溅点转换为此 Blender 自身的高斯泼溅，供其引擎渲染"
    ),
    # files of other programs
    "Half a turn about Z, as SuperSplat and PlayCanvas expect captures": "绕 Z 轴半圈，SuperSplat 和 PlayCanvas 所期望的方向",
    "Right, down, forward: COLMAP, gsplat, the spz tools, Spark": "右、下、前：COLMAP、gsplat、spz 工具、Spark",
    "As glTF: up along Y, face along Z": "与 glTF 相同：Y 向上，面朝 Z",
    "As Blender: up along Z, face along -Y": "与 Blender 相同：Z 向上，面朝 -Y",
    "3D Gaussian splatting .ply: exact, read by every splat viewer": "三维高斯泼溅 .ply：精确，所有查看器均可读取",
    "Niantic .spz: a fifth to a tenth of the size, quantised": "Niantic .spz：大小为五分之一至十分之一，经过量化",
    "Rotations to 0.2 degrees": "旋转精确到 0.2 度",
    "Coarser rotations, for older programs": "旋转较粗略，供旧程序使用",
    "Version of the .spz format": ".spz 格式的版本",
    "Kind of file": "文件的种类",
    "Let splats and rig stand as at this frame; otherwise at rest, and the file can become an avatar again": (
        "泼溅点和绑定保持此帧的姿态；否则为静止姿态，文件可再次变为头像"
    ),
    "Write splat clouds that are attached to the avatar too": "同时写出附着在头像上的泼溅点云",
    "Write every so many frames": "每隔多少帧写出一次",
    # backend and preferences
    "Log errors only": "仅记录错误",
    "Log errors and warnings": "记录错误和警告",
    "Log what the backend does": "记录后端的工作",
    "Log every detail, for bug reports": "记录所有细节，用于错误报告",
    "Where avatars are reconstructed": "在何处重建头像",
    "Folder that holds build.py; leave empty to use the one where “build.py setup” was run": (
        "包含 build.py 的文件夹；留空则使用运行过“build.py setup”的文件夹"
    ),
    "How much the backend writes to its log": "后端写入日志的详细程度",
    "Public key that the other computer's backend prints when it starts: 40 characters": "另一台电脑的后端启动时显示的公钥：40 个字符",
    "Waiting for the backend to start or to answer": "等待后端启动或应答",
    "The backend has accepted the job and works on another one": "后端已接受任务，正在处理另一个",
    "The backend works on the job": "后端正在处理任务",
    "The backend has been asked to stop": "已请求后端停止",
    "A photo shows several faces: choose the one to use": "照片中有多张人脸：请选择要使用的一张",
    "The avatar is finished, but the photos made something doubtful": "头像已完成，但照片造成了一些疑问",
    "The job ended with an error": "任务因错误结束",
    "An avatar is made from photos": "由照片制作头像",
    "A video is tracked, and its motion keyed on an avatar": "跟踪视频，并将其动作写入头像的关键帧",
    "Motion": "动作",
    "Photo that Remove takes out of the list": "“移除”从列表中取出的照片",
    "Avatar of the active object; choosing another one selects it": "活动物体的头像；选择另一个会选中它",
    "A parametric head of your own instead: a FLAME file or a folder of ICT-FaceKit, on the backend's computer": (
        "改用您自己的参数化头部：后端所在电脑上的 FLAME 文件或 ICT-FaceKit 文件夹"
    ),
    "Position in the list; -1 for the highlighted one": "在列表中的位置；-1 表示选中的一项",
    # rendering
    "Save": "保存",
    "Use Look": "使用外观",
    "Show this avatar's splats by a material that follows its look, or as Blender shows splats": (
        "用跟随外观的材质显示此头像的泼溅点，或按 Blender 自身的方式显示"
    ),
    "Use": "使用",
    "As Blender Shows Splats": "按 Blender 自身方式",
    "Set Up Avatar Layers": "设置头像图层",
    "Render the avatars into a view layer of their own, with alpha, depth and cryptomatte, cut by what stands before them": (
        "将头像渲染到单独的视图层，带 alpha、深度和 Cryptomatte，并按前方物体裁切"
    ),
    "Layer Without Avatars": "不含头像的图层",
    "Also render everything else with the avatars held out: both layers sum up to the whole picture": (
        "同时渲染挖去头像的其余内容：两层相加即为完整画面"
    ),
    "Multilayer EXR": "多层 EXR",
    "Write frames as OpenEXR files that hold all layers and passes": "将帧写为包含所有图层和通道的 OpenEXR 文件",
    "Which .blend the farm gets": "农场使用哪个 .blend",
    "A Copy": "副本",
    "Save NAME_render.blend beside this file; drivers and keys of the open file stay as they are": (
        "在此文件旁保存 NAME_render.blend；打开的文件的驱动器和关键帧保持不变"
    ),
    "This File": "此文件",
    "Change the open file and save it, over what is on the disk": "修改打开的文件并保存，覆盖磁盘上的内容",
    "Nothing Yet": "暂不保存",
    "Change the open file, undo takes it back; save it yourself": "修改打开的文件，可撤销；请自行保存",
    "With Mirror Image": "连同镜像",
    "Save its mirror image as a second asset: Flip of Blender's pose library swaps bones, but not the sides of sliders": (
        "将其镜像另存为第二个资产：Blender 姿态库的“翻转”只交换骨骼，不交换滑块的左右"
    ),
    # sequences of splat files
    "Detect Sequences": "检测序列",
    "Of the chosen files, play those that are numbered (name_0001.ply, name_0002.ply, ...) by frame, as one object": (
        "所选文件中带编号的（name_0001.ply、name_0002.ply……）作为一个物体按帧播放"
    ),
    "Frames by Number": "按编号对应帧",
    "Show each file of a sequence at the frame that its name gives": "序列中的每个文件显示在其名称所示的帧",
    "Frame that shows the first file of a sequence": "显示序列第一个文件的帧",
    "Numbers a second of a sequence; 0 plays one number a frame of the scene": "序列每秒的编号数；0 表示场景每帧播放一个编号",
    "Cyclic": "循环",
    "Play a sequence again and again, instead of holding its first and last frame": "反复播放序列，而不是保持首尾帧",
    "Memory Limit": "内存上限",
    "Gigabytes that a sequence may take, in memory and in the .blend": "序列在内存和 .blend 中可占用的 GB 数",
}  # fmt: skip
"""Names and tooltips of options."""
