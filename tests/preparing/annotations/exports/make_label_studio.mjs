// Write run lengths of Label Studio's brush with the encoder that its front end uses.
//
//     npm install @thi.ng/rle-pack@3.2.12 && node make_label_studio.mjs
//
// label_studio/strokes.json: name -> width, height, rle (bytes) and alpha (values of the fourth channel in rows).
import { writeFileSync } from 'node:fs';
import { encode } from '@thi.ng/rle-pack';

function stroke(width, height, alpha) {
  const rgba = new Uint8Array(width * height * 4);
  const values = [];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const value = alpha(x, y);
      values.push(value);
      if (value) rgba.set([255, 0, 0, value], 4 * (y * width + x));
    }
  return { width, height, rle: [...encode(rgba, rgba.length)], alpha: values };
}

const strokes = {
  square: stroke(32, 24, (x, y) => (x >= 6 && x < 20 && y >= 4 && y < 10 ? 255 : 0)),
  noise: stroke(9, 7, (x, y) => (x * 31 + y * 17 + x * x * y) % 5 ? 0 : 255),
  // literal blocks: neighbours differ everywhere
  soft: stroke(5, 4, (x, y) => (37 * (y * 5 + x)) % 256),
};
writeFileSync(new URL('label_studio/strokes.json', import.meta.url), JSON.stringify(strokes));
