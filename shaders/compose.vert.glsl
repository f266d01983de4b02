/* A rectangle of the region: rect is (left, bottom, right, top) in normalised device coordinates. It stands at
 * the depth of the avatar's middle, which matters only where the fragment shader cannot set the depth. */

void main()
{
  float w = lens.z > 0.5 ? -lens.w : 1.0;
  float depth = clamp((lens.x * lens.w + lens.y) / w, -1.0, 1.0);
  gl_Position = vec4(mix(rect.xy, rect.zw, corner * 0.5 + 0.5), depth, 1.0);
}
