"""What is written of pairs: shards of images, without anybody's name, split by patient; and the journal of a build under way."""
