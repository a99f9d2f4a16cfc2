// Many points as one picture: each is blended into pixels in memory, which takes a fraction of the time of a path each.

const MANY_POINTS = 5000;
// Points that are not selected cover at most this share of what is below them, however many lie at one place.
const HELD_BACK = 0.25;
// How far the paths of PATHS reach in their box of 16, across.
const EXTENTS = { circle: 12, square: 10, triangle: 14, diamond: 14 };

// The pixels of a marker of a size around its middle: their places, and how much of each it covers, from 0 to 1.
function stencilOf(marker, size) {
  const middle = Math.ceil(size / 2) + 1;
  const side = 2 * middle + 1;
  const ctx = make("canvas", { width: side, height: side }).getContext("2d");
  ctx.translate(middle + 0.5, middle + 0.5);
  ctx.scale(size / EXTENTS[marker], size / EXTENTS[marker]);
  ctx.translate(-8, -8);
  ctx.fill(new Path2D(PATHS[marker]));
  const { data } = ctx.getImageData(0, 0, side, side);
  const found = { across: [], down: [], share: [] };
  for (let place = 0; place < side * side; place++) {
    if (!data[4 * place + 3]) continue;
    found.across.push((place % side) - middle);
    found.down.push(Math.floor(place / side) - middle);
    found.share.push(data[4 * place + 3] / 255);
  }
  return found;
}

// Blend points into red, green, blue (times alpha) and alpha of width x height pixels; a point that is no number is none.
function blend(pixels, width, height, points) {
  const { indices, across, down, colours, alpha, stencils } = points;
  for (const row of indices) {
    const [x, y] = [Math.floor(across(row)), Math.floor(down(row))];
    if (Number.isNaN(x + y)) continue;
    const colour = colours(row);
    const [red, green, blue] = [colour >>> 24, (colour >>> 16) & 255, (colour >>> 8) & 255];
    const stencil = stencils(row);
    for (let step = 0; step < stencil.share.length; step++) {
      const [px, py] = [x + stencil.across[step], y + stencil.down[step]];
      if (px < 0 || py < 0 || px >= width || py >= height) continue;
      const own = alpha * stencil.share[step];
      const place = 4 * (py * width + px);
      pixels[place] += own * (red - pixels[place]);
      pixels[place + 1] += own * (green - pixels[place + 1]);
      pixels[place + 2] += own * (blue - pixels[place + 2]);
      pixels[place + 3] += own * (1 - pixels[place + 3]);
    }
  }
}

// The blended pixels as a picture.
function pictureOf(pixels, width, height) {
  const image = new ImageData(width, height);
  for (let place = 0; place < pixels.length; place += 4) {
    const alpha = pixels[place + 3];
    if (!alpha) continue;
    for (let part = 0; part < 3; part++) image.data[place + part] = pixels[place + part] / alpha;
    image.data[place + 3] = 255 * alpha;
  }
  const canvas = make("canvas", { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// Have a map with many points draw them so; its axes, tools and selections stay Bokeh's.
function drawAsPicture(plot) {
  for (const view of Bokeh.index.find_one(plot).renderer_views.values()) {
    if (!view.nonselection_glyph) continue; // an axis or a grid
    const stencils = new Map();
    for (const glyph of [view.glyph, view.selection_glyph, view.nonselection_glyph]) {
      glyph._paint = (ctx, indices, data) => paintPicture(glyph, ctx, indices, data, stencils);
    }
  }
}

function paintPicture(glyph, ctx, indices, data, stencils) {
  const { sx, sy, size, marker } = { ...glyph, ...data };
  if (!indices.length) return;
  const most = glyph === glyph.renderer.nonselection_glyph ? HELD_BACK : 1;
  const { left, top, width, height } = glyph.renderer.plot_view.frame.bbox;
  const ratio = glyph.canvas.pixel_ratio ?? window.devicePixelRatio;
  const [wide, high] = [Math.ceil(width * ratio), Math.ceil(height * ratio)];
  if (!wide || !high) return;
  const fill = glyph.visuals.fill;
  const pixels = new Float32Array(4 * wide * high);
  blend(pixels, wide, high, {
    indices,
    across: (row) => (sx[row] - left) * ratio,
    down: (row) => (sy[row] - top) * ratio,
    colours: (row) => fill.fill_color.get(row),
    alpha: fill.fill_alpha.get(indices[0]) / most,
    stencils: (row) => {
      const name = marker.get(row);
      const key = `${name} ${ratio}`;
      if (!stencils.has(key)) stencils.set(key, stencilOf(name, size.get(row) * ratio));
      return stencils.get(key);
    },
  });
  ctx.save();
  ctx.globalAlpha = most;
  ctx.drawImage(pictureOf(pixels, wide, high), left, top, wide / ratio, high / ratio);
  ctx.restore();
}
