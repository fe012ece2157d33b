/** What was said, as it comes: a new line for each speaker, and after a pause. */
const PAUSE_MS = 1_000; // without text: the line is complete
const KEPT = 200; // lines; the oldest go

export type Speaker = "model" | "person";

export class Transcript {
  private readonly lines = new Map<Speaker, { text: Text; timer: number }>(); // those that grow

  constructor(private readonly list: HTMLElement) {}

  /** Adds a piece of text, with the space before it. */
  add(speaker: Speaker, piece: string): void {
    const open = this.lines.get(speaker);
    clearTimeout(open?.timer);
    const text = open?.text ?? this.line(speaker);
    text.appendData(text.length ? piece : piece.trimStart());
    const timer = window.setTimeout(() => this.lines.delete(speaker), PAUSE_MS);
    this.lines.set(speaker, { text, timer });
    this.list.scrollTop = this.list.scrollHeight;
  }

  clear(): void {
    this.lines.clear();
    this.list.replaceChildren();
  }

  private line(speaker: Speaker): Text {
    const item = document.createElement("p");
    const who = document.createElement("b");
    const text = document.createTextNode("");
    item.className = speaker;
    who.textContent = speaker === "model" ? "Model" : "You";
    item.append(who, " ", text);
    this.list.append(item);
    if (this.list.children.length > KEPT) this.list.firstElementChild?.remove();
    return text;
  }
}
