"""What operators report, and sentences of panels, in Simplified Chinese. {places} keep their names."""

REPORTS = {
    "Refined frames lie before the camera {name}": "精修帧已放在摄像机 {name} 前",
    "{action}: {count} splats": "{action}：{count} 个泼溅点",
    "The stroke has no points": "笔画没有点",
    "The shape has no points": "形状没有点",
    "Hid {count} splats": "已隐藏 {count} 个泼溅点",
    "Showed {count} splats": "已显示 {count} 个泼溅点",
    "Reset {count} splats": "已重置 {count} 个泼溅点",
    "Removed {count} splats": "已移除 {count} 个泼溅点",
    "Mirrored {count} splats": "已镜像 {count} 个泼溅点",
    "Bound {count} splats": "已绑定 {count} 个泼溅点",
    "Turned {count} levels of detail": "已转换 {count} 个细节级别",
    "Move the pointer over a 3D view": "请将指针移到 3D 视图上",
    "{name} is an asset of this file; save it in an asset library's folder": "{name} 已成为此文件的资产；请保存到资产库的文件夹中",
    "Stopped after {written} of {count} files": "已停止：写出 {written} 个，共 {count} 个文件",
    "Lookalike: {name}, {written} of {count}   |   Esc stops": "Lookalike：{name}，{written} / {count}   |   Esc 停止",
    "Stopped: {name} was not imported": "已停止：未导入 {name}",
    "Wrote {count} files": "已写出 {count} 个文件",
    "Wrote {path}": "已写出 {path}",
    "Imported the avatar {name}": "已导入头像 {name}",
    "Imported {count} splats from {name}": "已从 {name} 导入 {count} 个泼溅点",
    "{count} splats each": "每个 {count} 个泼溅点",
    "{least} to {most} splats": "{least} 至 {most} 个泼溅点",
    "{name}: {frames} files play from frame {first} to {last}, {counts}, {memory} MB in memory and in the .blend": (
        "{name}：{frames} 个文件在第 {first} 至 {last} 帧播放，{counts}，在内存和 .blend 中占 {memory} MB"
    ),
    "{name}: no file for {numbers}; the one before is shown": "{name}：{numbers} 没有文件；显示前一个",
    "Attached {objects} to {name}": "已将 {objects} 附着到 {name}",
    "Muted {what}": "已静音 {what}",
    "Unmuted {what}": "已取消静音 {what}",
    "the face": "面部",
    "Face copied": "已复制面部",
    "Paste the mirror image of the copied face": "粘贴所复制面部的镜像",
    "Set the face to “{name}”; Adjust Last Operation changes how much, and keys it": (
        "将面部设为“{name}”；“调整上一步操作”可改变强度并插入关键帧"
    ),
    "Saved pose asset “{name}”; it is kept with this file": "已保存姿态资产“{name}”；它随此文件保存",
    "{name} has its face controls": "{name} 已获得面部控制器",
    "{name} has face controls already": "{name} 已有面部控制器",
    "Keyed {count} controls at frame {frame}": "已为 {count} 个控制器在第 {frame} 帧插入关键帧",
    "Keyed frames {first} to {last}": "已插入第 {first} 至 {last} 帧的关键帧",
    "Provenance copied": "已复制来源信息",
    "Created {name}": "已创建 {name}",
    "Deleted {name}": "已删除 {name}",
    "Public key copied": "已复制公钥",
    "{path} is not there any more; export the avatar again": "{path} 已不存在；请重新导出头像",
    "Listening on port {port}": "正在监听端口 {port}",
    "Recording from frame {frame}": "从第 {frame} 帧开始录制",
    "Tracking {name}: progress and Cancel are in the panel": "正在跟踪 {name}：进度和取消在面板中",
    "No photo was chosen": "没有选择照片",
    "No photo is highlighted": "没有选中照片",
    "{count} files lie outside the .blend's folder: keep their places when copying": (
        "{count} 个文件不在 .blend 所在的文件夹内：复制时请保持其位置"
    ),
    "Render-ready: copy {file} and {files} (text “{list}”), {count} scripted drivers became keys": (
        "渲染准备完成：请复制 {file} 和{files}（文本“{list}”），{count} 个脚本驱动器已变为关键帧"
    ),
    "Render-ready: copy {file} and {files} (text “{list}”)": "渲染准备完成：请复制 {file} 和{files}（文本“{list}”）",
    "{name}, mirrored": "{name}（镜像）",
    "Not saved yet: save this file before you copy it": "尚未保存：复制前请先保存此文件",
    "no other file": "无其他文件",
    "1 other file": "另外 1 个文件",
    "{count} other files": "另外 {count} 个文件",
    (
        "“{action}”: frames {first} to {last}, {controls} controls, {keys} of {frames} keys, error at most {error} and {angle}°"
    ): "“{action}”：第 {first} 至 {last} 帧，{controls} 个控制器，{keys} / {frames} 个关键帧，误差不超过 {error} 和 {angle}°",
    "not on this avatar: {names} ({share} of the motion)": "此头像没有：{names}（占动作的 {share}）",
    "{strips} mouth shapes as strips in “{first}” and “{second}”, frames {begin} to {end}": (
        "{strips} 个口型已作为片段置于“{first}”和“{second}”，第 {begin} 至 {end} 帧"
    ),
    "Avatars are not drawn: {error}": "头像未能绘制：{error}",
    "{name} shows {count} faces. Which one?": "{name} 中有 {count} 张人脸。选择哪一张？",
    "Face {number}": "人脸 {number}",
    "Key {count} Frames": "为 {count} 帧插入关键帧",
    "Create from {count} Photos": "用 {count} 张照片创建",
    "{name} is finished": "{name} 已完成",
    "No expression is called “{text}”": "没有名为“{text}”的表情",
    "Track Video...": "跟踪视频...",
    "File": "文件",
    "Found by itself": "自动查找",
    "host:5870": "主机:5870",
    "Blender's online access is off: turn on System > Network > Allow Online Access": (
        "Blender 的在线访问已关闭：请在“系统 > 网络”中启用“允许在线访问”"
    ),
    "More choices appear once the backend runs": "后端运行后会出现更多选项",
    "Add photos of one person, or drop them onto the viewport": "添加同一个人的照片，或将其拖放到视图中",
    "From an older file: its sliders cannot be pose assets, and ARKit's shapes are missing": (
        "来自旧文件：其滑块不能成为姿态资产，且没有 ARKit 形状"
    ),
    "Select the objects to attach, and the avatar if there are several": "选择要附着的物体；有多个头像时也请选择头像",
    "Select objects that are attached to an avatar's head": "选择附着在头像头部的物体",
    "The backend is running": "后端正在运行",
    "The avatar has no file yet: export it": "此头像还没有文件：请先导出",
    "Add a photo first": "请先添加照片",
    "Workbench leaves avatars out": "Workbench 不绘制头像",
    "Not running": "未运行",
    "Not available": "不可用",
    "Starting": "启动中",
    "Connecting": "连接中",
    "Connected": "已连接",
    "Connected ({where})": "已连接（{where}）",
    "Connection lost, trying again": "连接中断，正在重试",
}
"""Reports of operators, and what panels say."""

WARNINGS = {
    "the active action “{a}” was pushed down into the NLA, so that it does not hide the lip-sync": (
        "活动动作“{a}”已下推到 NLA，以免遮住口型同步"
    ),
    "{a} controls went beyond {b}..{c}: cut there": "{a} 个控制器超出 {b} 至 {c}：已截断",
    "weights up to {a}: taken as percent": "权重最大为 {a}：按百分比处理",
    "angles up to {a}: taken as degrees": "角度最大为 {a}：按度处理",
    "the head does not turn in it: the app records that only with Head Rotation switched on": (
        "其中头部没有转动：应用只有在开启“Head Rotation”时才记录"
    ),
    "no face in {a} frames: interpolated": "{a} 帧中没有人脸：已插值",
    "{a} values were not numbers: interpolated": "{a} 个值不是数字：已插值",
    "{a} channels held no number: left out": "{a} 个通道没有数字：已略去",
    "{a} rows are shorter than the header: what they lack was interpolated": "{a} 行比表头短：缺少的值已插值",
    "not used: {a}": "未使用：{a}",
    "no timecode: taken as 60 frames a second": "没有时间码：按每秒 60 帧处理",
    "unreadable timecodes: taken as 60 frames a second": "时间码无法读取：按每秒 60 帧处理",
    "timecodes do not increase: taken as {a} frames a second": "时间码没有递增：按每秒 {a} 帧处理",
    "its times do not increase: taken as 30 frames a second": "时间没有递增：按每秒 30 帧处理",
    "{a} frames have another number of weights than there are names": "{a} 帧的权重数量与名称数量不同",
}
"""What readers of motion warn of."""
