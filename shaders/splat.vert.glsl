/* One splat as a quad that just covers its ellipse on screen (EWA splatting, Zwicker et al. 2001; the same
 * projection, clamps and low-pass as gsplat 1.5's rasterization).
 *
 * Declared by blender_addon/viewport/shader.py:
 *   geometry    3 texels a splat: (x, y, z, scale x) (w, x, y, z of the rotation) (scale y, scale z, -, -)
 *   appearance  1 texel a splat: display-referred r, g, b and opacity
 *   order       splat index of each instance, farthest first
 *   model_view  object to view space (the camera looks along -z)
 *   projection  P[0][0], P[1][1] and the off-axis terms of x and y (P[2][0], P[2][1] or P[3][0], P[3][1])
 *   frame       width, height in pixels, 1 if perspective, nearest distance that is drawn
 *   origin      view-space z of the avatar's middle: depths are stored relative to it, to fit half floats
 */

#define TEXEL(image, index) texelFetch(image, ivec2((index) % TEXTURE_WIDTH, (index) / TEXTURE_WIDTH), 0)

mat3 rotation_matrix(vec4 q)
{
  q = normalize(q);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
              2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
              2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

void main()
{
  int splat = int(TEXEL(order, gl_InstanceID).r);
  vec4 place = TEXEL(geometry, 3 * splat);
  vec4 rotation = TEXEL(geometry, 3 * splat + 1);
  vec4 rest = TEXEL(geometry, 3 * splat + 2);
  colour = TEXEL(appearance, splat);
  colour.rgb = max(colour.rgb, vec3(0.0));

  vec3 centre = (model_view * vec4(place.xyz, 1.0)).xyz;
  bool perspective = frame.z > 0.5;
  float w = perspective ? -centre.z : 1.0;
  depth = centre.z - origin.x;
  offset = vec2(0.0);
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0); /* outside: nothing is drawn */
  if (-centre.z < frame.w || colour.a < 1.0 / 255.0) {
    return;
  }

  /* Jacobian of the projection to pixels, at the centre (clamped beyond the borders as in gsplat). */
  vec2 focal = projection.xy * frame.xy * 0.5;
  vec3 jacobian_x = vec3(focal.x, 0.0, 0.0);
  vec3 jacobian_y = vec3(0.0, focal.y, 0.0);
  if (perspective) {
    vec2 half_extent = 1.0 / projection.xy;
    vec2 middle = 1.0 + projection.zw;
    vec2 slope = clamp(centre.xy / w, (middle - 2.0 - 0.3) * half_extent, (middle + 0.3) * half_extent);
    jacobian_x = vec3(focal.x, 0.0, focal.x * slope.x) / w;
    jacobian_y = vec3(0.0, focal.y, focal.y * slope.y) / w;
  }

  mat3 axes = mat3(model_view) * rotation_matrix(rotation);
  axes = mat3(axes[0] * place.w, axes[1] * rest.x, axes[2] * rest.y);
  vec3 row_x = transpose(axes) * jacobian_x;
  vec3 row_y = transpose(axes) * jacobian_y;
  float xx = dot(row_x, row_x) + 0.3;
  float xy = dot(row_x, row_y);
  float yy = dot(row_y, row_y) + 0.3;

  /* Principal axes of the 2D covariance; the quad ends where opacity falls under 1/255. */
  float mean = 0.5 * (xx + yy);
  float spread = sqrt(max(0.25 * (xx - yy) * (xx - yy) + xy * xy, 1e-12));
  float major = mean + spread;
  float minor = max(mean - spread, 0.1);
  vec2 direction = xx >= yy ? vec2(1.0, 0.0) : vec2(0.0, 1.0);
  if (abs(xy) > 1e-7 * mean) {
    direction = normalize(vec2(xy, major - xx));
  }
  float extent = min(3.33, sqrt(2.0 * log(255.0 * colour.a)));
  offset = corner * extent;
  vec2 pixels = offset.x * sqrt(major) * direction + offset.y * sqrt(minor) * vec2(-direction.y, direction.x);

  /* Depth of the Gaussian along each pixel's ray: its conditional mean, linear over the quad. A flat splat seen at an
   * angle thus has the slope of its surface, and meshes are cut where they really meet. */
  vec3 row_z = vec3(axes[0].z, axes[1].z, axes[2].z);
  vec2 lean = vec2(dot(row_x, row_z), dot(row_y, row_z));
  float determinant = xx * yy - xy * xy;
  vec2 slope_z = vec2(yy * lean.x - xy * lean.y, xx * lean.y - xy * lean.x) / max(determinant, 1e-9);
  depth += dot(slope_z, pixels);

  vec2 position = projection.xy * centre.xy + projection.zw * (perspective ? centre.z : 1.0);
  gl_Position = vec4(position + pixels * 2.0 / frame.xy * w, 0.0, w);
}
