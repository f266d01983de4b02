"""A face streamed over UDP onto an avatar, and recorded to keys. The thread that receives never touches Blender."""
