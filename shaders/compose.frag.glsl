/* Lay the splats over the viewport: Blender blends its overlay layer in linear light and shows it without the
 * view transform, so the finished display-referred picture is linearised here, once, after all blending.
 *
 *   lens     P[2][2], P[3][2], 1 if perspective, view-space z of the depth origin
 *   darken   strength of the passepartout outside `window`, and the size of the pictures in pixels
 *   window   left, bottom, right, top of the camera frame in pixels
 */

vec3 linear_from_srgb(vec3 c)
{
  return mix(c / 12.92, pow((c + 0.055) / 1.055, vec3(2.4)), step(vec3(0.04045), c));
}

void main()
{
  ivec2 pixel = ivec2(gl_FragCoord.xy);
  vec4 blended = texelFetch(picture, pixel, 0);
  if (blended.a < 1.0 / 255.0) {
    discard;
  }
  vec3 light = linear_from_srgb(clamp(blended.rgb / blended.a, 0.0, 1.0));
  vec2 at = gl_FragCoord.xy;
  bool inside = all(greaterThanEqual(at, window.xy)) && all(lessThanEqual(at, window.zw));
  light *= inside ? 1.0 : 1.0 - darken.x;
  composed = vec4(light * blended.a, blended.a);

#ifdef WRITE_DEPTH
  vec4 nearest = texelFetch(surface, pixel, 0);
  float z = lens.w + nearest.r / max(nearest.a, 1e-4);
  float w = lens.z > 0.5 ? -z : 1.0;
  gl_FragDepth = clamp(0.5 + 0.5 * (lens.x * z + lens.y) / w, 0.0, 1.0);
#endif
}
