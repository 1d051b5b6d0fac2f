// A line of the last values, as an SVG that is changed in place.

const svg = "http://www.w3.org/2000/svg";
const most = 60; // values: two minutes, at one in two seconds
const height = 20;

export class Spark {
  values = [];
  #drawn = "";
  #parts;

  constructor() {
    this.element = document.createElementNS(svg, "svg");
    this.element.setAttribute("class", "spark");
    this.element.setAttribute("viewBox", `0 0 ${most - 1} ${height}`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("aria-hidden", "true"); // the number beside it says the last
    this.#parts = ["area", "line"].map((name) => {
      const path = document.createElementNS(svg, "path");
      path.setAttribute("class", name);
      this.element.append(path);
      return path;
    });
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > most) this.values.shift();
  }

  draw() {
    const top = Math.max(...this.values, 1e-9);
    const first = most - this.values.length;
    const line = this.values.map((v, i) => `${i === 0 ? "M" : "L"}${first + i} ${(height - 1 - (v / top) * (height - 2)).toFixed(2)}`).join("");
    if (line === this.#drawn) return;
    this.#drawn = line;
    this.#parts[0].setAttribute("d", line && `${line}L${most - 1} ${height}L${first} ${height}Z`);
    this.#parts[1].setAttribute("d", line);
  }
}
