"""Sound as a stream of frames: microphones, speakers, files and pipes."""
