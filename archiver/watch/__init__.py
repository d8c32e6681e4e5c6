"""Watched folders: what arrives there is archived once it has settled, each file exactly once.

Job: find new files by scanning (events are hints only), remember every one of them in a
journal, hand them to a :class:`~archiver.watch.model.Sink`. Limits: makes no bags itself.
"""
