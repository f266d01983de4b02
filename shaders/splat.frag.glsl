/* Opacity of one splat at one pixel, premultiplied, blended in display space as 3D Gaussian splats are trained. */

void main()
{
  float alpha = min(0.999, colour.a * exp(-0.5 * dot(offset, offset)));
  if (alpha < 1.0 / 255.0) {
    discard;
  }
  picture = vec4(colour.rgb * alpha, alpha);
  /* Depth of the nearest splat that matters: weighed four times, so that what shines through from the back
   * of the head hardly moves it. */
  float weight = min(1.0, 4.0 * alpha);
  surface = vec4(depth * weight, 0.0, 0.0, weight);
}
