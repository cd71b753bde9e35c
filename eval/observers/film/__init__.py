"""Films of episodes: one episode per video, or many episodes as the tiles of one video; captions and video files."""
