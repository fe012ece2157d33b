/** Items that one loop takes in order; of more than `most` that wait, the oldest go. */
import { Signal } from "../client/signal.ts";

export class Queue<Item> {
  dropped = 0;
  private readonly items: Item[] = [];
  private readonly news = new Signal();
  private closed = false;

  constructor(private readonly most: number) {}

  put(item: Item): void {
    this.items.push(item);
    if (this.items.length > this.most) {
      this.items.shift();
      this.dropped++;
    }
    this.news.set();
  }

  close(): void {
    this.closed = true;
    this.news.set();
  }

  /** The next item; undefined once the queue is closed, and what still waits is dropped. */
  async take(): Promise<Item | undefined> {
    while (!this.closed && this.items.length === 0) await this.news.wait();
    return this.closed ? undefined : this.items.shift();
  }
}
