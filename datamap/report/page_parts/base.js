// What every page is made of: its data unpacked, elements whose texts are text nodes (never markup), numbers.

const byId = (id) => document.getElementById(id);

// The text inside a data element, which is then taken out of the page.
function taken(id) {
  const node = byId(id);
  const text = node.textContent;
  node.remove();
  return text;
}

// A value that was packed as base64 of gzip of JSON.
async function unpacked(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let place = 0; place < binary.length; place++) bytes[place] = binary.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// An element with attributes and children; a child that is no element is shown as text.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const number = (value) => value.toLocaleString("en");

function shortened(text, length) {
  const points = Array.from(text.slice(0, 2 * length));
  return points.length > length ? `${points.slice(0, length - 1).join("")}…` : text;
}
